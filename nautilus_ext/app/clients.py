"""Venue clients for a node: factories found by us, secrets filled in at the last moment."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nautilus_trader.model.identifiers import Venue

from nautilus_ext.config.secret import reveal_all

if TYPE_CHECKING:
    from nautilus_trader.live.node import TradingNode

    from nautilus_ext.config.components import ClientSpec
    from nautilus_ext.config.secret import Secrets


def late_factory(spec: ClientSpec, secrets: Secrets, built: list[Any]) -> type:
    """A factory that decodes the client's config anew, with its secrets, when the client is created.

    What Nautilus holds, prints or streams has placeholders in it. `built` receives each client, so that the runner
    can tell which of them did not connect.
    """

    def create(*, config: Any, **context: Any) -> Any:
        del config  # the one with placeholders
        client = spec.factory.create(config=spec.decode(reveal_all(spec.config, secrets)), **context)
        built.append(client)
        return client

    # Nautilus passes the portfolio only to a factory of this exact name: the sandbox's must keep its own.
    return type(spec.factory.__name__, (spec.factory,), {"create": staticmethod(create)})


def split_accounts(specs: list[ClientSpec]) -> tuple[list[ClientSpec], list[ClientSpec]]:
    """The first client of each venue, and the further accounts there, which Nautilus's builder refuses."""
    first: dict[tuple[type, str | None], ClientSpec] = {}
    for spec in specs:
        first.setdefault((spec.factory, spec.config.get("venue")), spec)
    firsts = list(first.values())
    return firsts, [spec for spec in specs if spec not in firsts]


def add_account(node: TradingNode, spec: ClientSpec, factory: type) -> None:
    """Register one more account at a venue that has a client: orders reach it by `client_id`, never by their venue."""
    kernel = node.kernel
    client = factory.create(
        loop=kernel.loop,
        name=spec.name,
        config=spec.decode(spec.config),
        msgbus=kernel.msgbus,
        cache=kernel.cache,
        clock=kernel.clock,
    )
    # A routing to a venue of the client's own name, which no instrument has, is what makes the engine know the client.
    kernel.exec_engine.register_venue_routing(client, Venue(spec.name))
