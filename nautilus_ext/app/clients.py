"""Venue clients for a node: factories found by us, secrets filled in at the last moment and not handed on."""

from __future__ import annotations

from types import new_class
from typing import TYPE_CHECKING, Any

from nautilus_trader.model.identifiers import Venue

from nautilus_ext.config.secret import reveal_all
from nautilus_ext.config.shape import decode
from nautilus_ext.errors import SuiteError, VenueError

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
        client = spec.factory.create(config=_sealed(spec, secrets, shown=config), **context)
        built.append(client)
        _remember_failure(client)
        return client

    # Nautilus passes the portfolio only to a factory of this exact name: the sandbox's must keep its own.
    return type(spec.factory.__name__, (spec.factory,), {"create": staticmethod(create)})


def _remember_failure(client: Any) -> None:
    """Nautilus logs what `_connect` raises, and waits on although nobody tries again: the runner shall not."""
    connect = getattr(client, "_connect", None)
    if connect is None:
        return

    async def connect_or_remember() -> None:
        try:
            await connect()
        except Exception as error:
            told = VenueError(f"{client.id}: {type(error).__name__}: {error}")
            client.connect_failure = error if isinstance(error, SuiteError) else told
            raise

    client._connect = connect_or_remember  # noqa: SLF001 - the one hook that every live client has


def _sealed(spec: ClientSpec, secrets: Secrets, *, shown: Any) -> Any:
    """The config with its secrets, which answers with the placeholders of `shown` when it is asked to show itself.

    Each change of a component's state is published with its config in it, and goes to every stream there is.
    """
    views = {
        "json_primitives": lambda _self: shown.json_primitives(),
        "json": lambda _self: shown.json(),
        "dict": lambda _self: shown.dict(),
        "__repr__": lambda _self: repr(shown),
    }
    base = spec.config_class
    kind = new_class(
        base.__name__, (base,), {"frozen": True, "kw_only": True}, lambda namespace: namespace.update(views)
    )
    return decode(reveal_all(spec.config, secrets), kind)


def split_accounts(specs: list[ClientSpec]) -> tuple[list[ClientSpec], list[ClientSpec]]:
    """The first client of each venue, and the further accounts there, which Nautilus's builder refuses."""
    first: dict[tuple[type, str | None], ClientSpec] = {}
    for spec in specs:
        first.setdefault((spec.factory, spec.config.get("venue")), spec)
    firsts = list(first.values())
    return firsts, [spec for spec in specs if spec not in firsts]


def add_account(node: TradingNode, spec: ClientSpec, factory: Any) -> None:
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
