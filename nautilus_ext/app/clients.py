"""Venue clients for a node: factories found by us, secrets filled in at the last moment."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nautilus_ext.config.secret import reveal_all

if TYPE_CHECKING:
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
