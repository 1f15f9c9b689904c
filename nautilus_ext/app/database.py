"""Where the tables are: an embedded server that is started or joined, or the operator's own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from nautilus_ext.config.secret import dsn_password
from nautilus_ext.embedded import EmbeddedPostgres, EmbeddedValkey
from nautilus_ext.schema.address import redact
from nautilus_ext.schema.upgrade import upgrade

if TYPE_CHECKING:
    from nautilus_ext.config.load import Config

EMBEDDED = "embedded"
MIGRATION_TIMEOUT_S = 60.0


@dataclass
class Tables:
    """Addresses of the tables, and our share in the embedded server, if it is one. Whoever opens it closes it."""

    configured_url: str
    owner_url: str
    auto_migrate: bool
    server: EmbeddedPostgres | None = None

    @property
    def app_url(self) -> str:
        """The application's address now: an embedded server that was killed is started again, maybe elsewhere."""
        if self.server is None:
            return self.configured_url
        self.server.ensure_running()
        return self.server.app_url

    @property
    def place(self) -> str:
        """What to call it on a screen: never with a password."""
        return f"embedded, port {self.server.port}" if self.server else redact(self.configured_url)

    def migrate(self) -> list[str]:
        """Bring the tables up to date; return the revisions that were applied."""
        return upgrade(self.owner_url, self.app_url, timeout_s=MIGRATION_TIMEOUT_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.server is not None:
            self.server.close()


class Redis:
    """Where commands may come from beside the table, and our share in the embedded server, if it is one."""

    def __init__(self, config: Config) -> None:
        self._url = config.suite.redis.url
        self._server = None if self._url != EMBEDDED else EmbeddedValkey(config.data_dir / "valkey")

    def url_now(self) -> str:
        """The address; an embedded server that was killed is started again."""
        if self._server is None:
            return self._url
        self._server.ensure_running()
        return self._server.url

    def close(self) -> None:
        if self._server is not None:
            self._server.close()


def open_tables(config: Config) -> Tables:
    """Start or join the embedded server, or take the addresses of the config as they are."""
    settings = config.suite.database
    url = settings.backtest_url if config.world == "backtest" else settings.url
    if url == EMBEDDED:
        server = EmbeddedPostgres.join(config.data_dir / "postgres", port=settings.embedded_port)
        return Tables(server.app_url, server.owner_url, settings.auto_migrate is not False, server)
    owner_url = settings.migrate_url if settings.migrate_url and config.world != "backtest" else url
    return Tables(url, owner_url, settings.auto_migrate is True)


def secrets_in(tables: Tables) -> set[str]:
    """The generated passwords of the embedded server, for the mask."""
    urls = (tables.app_url, tables.owner_url)
    return {password for url in urls if (password := dsn_password(url))}
