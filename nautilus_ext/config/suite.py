"""The suite's own sections of a config file. Every field says its unit; the schema comes from here."""

from typing import Annotated, Any
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from nautilus_ext.config.alerts import Alerting
from nautilus_ext.config.risk import Risk

MAX_STOP_S = 10.0  # from the signal to the end of the process
MARKET_CONFIG = "nautilus_ext.simulation:SimulatedDataClientConfig"  # by name: the config imports no capability
RISK_RULES = "nautilus_ext.risk.section:section_problems"  # by name, as above
SYNTHETIC_QUOTES_MAX = 20_000_000  # about a day of eight instruments ten times a second, three times over
OWN_STOP_S = 2.0  # what of it the suite keeps for itself: the book's row, the log, the display


class Database(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`database`: where the tables are."""

    url: Annotated[
        str, Meta(description='The application\'s address: "embedded", or a DSN like postgresql://user:…@host:5432/db.')
    ] = "embedded"
    migrate_url: Annotated[
        str | None,
        Meta(description="The owner's address for `migrate`; without it `url` is used. Not for the embedded server."),
    ] = None
    backtest_url: Annotated[
        str, Meta(description="The address that backtests use, apart from live tables by default.")
    ] = "embedded"
    auto_migrate: Annotated[
        bool | None,
        Meta(description="Bring the tables up to date at the start; default: only on the embedded server."),
    ] = None
    embedded_port: Annotated[
        int, Meta(ge=0, le=65535, description="TCP port of the embedded server on 127.0.0.1; 0 takes any free one.")
    ] = 0
    pool_size: Annotated[
        int, Meta(ge=1, le=100, description="Most connections that the node's own readers and writers open.")
    ] = 4
    connect_timeout_s: Annotated[float, Meta(gt=0, le=60, description="Longest wait for a connection, in seconds.")] = (
        5.0
    )
    statement_timeout_s: Annotated[
        float, Meta(gt=0, le=600, description="Longest that one statement may run, in seconds.")
    ] = 30.0

    def __repr__(self) -> str:
        return "Database(…)"  # an address may hold a password


class Redis(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`redis`: a stream by which other programs command a node, beside the table."""

    url: Annotated[
        str,
        Meta(
            extra_json_schema={"pattern": "^(embedded|rediss?://.+|unix://.+)?$"},  # what is none must not be shown
            description='Where the stream is: redis://…, rediss://…, unix://…, or "embedded" for a Valkey on a socket '
            "in the data folder. Empty: none is read.",
        ),
    ] = ""

    def __repr__(self) -> str:
        return "Redis(…)"  # an address may hold a password


def is_stream_address(url: str) -> bool:
    """Whether each of its parts can be read."""
    if url in ("", "embedded"):
        return True
    try:
        parts = urlsplit(url)
        place = parts.path if parts.scheme == "unix" else parts.hostname and parts.port != 0
    except ValueError:
        return False
    return parts.scheme in ("redis", "rediss", "unix") and bool(place) and not parts.fragment


class LoggingExt(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`logging_ext`: one JSON-lines file per book, Nautilus's own log included."""

    level: Annotated[
        str, Meta(pattern="^(DEBUG|INFO|WARNING|ERROR)$", description="DEBUG, INFO, WARNING or ERROR.")
    ] = "INFO"
    backtest_level: Annotated[
        str,
        Meta(
            pattern="^(DEBUG|INFO|WARNING|ERROR)$",
            description="The same in a backtest, which one record per event would slow down.",
        ),
    ] = "WARNING"
    log_orders: Annotated[
        bool, Meta(description="One record per order submission and per change of an order's state.")
    ] = True
    log_fills: Annotated[bool, Meta(description="One record per fill.")] = True
    directory: Annotated[
        str | None, Meta(description="Folder of the log files; default: `logs` in the data folder.")
    ] = None
    file_size_bytes_max: Annotated[
        int, Meta(ge=10_000, le=10_000_000_000, description="A log file is rotated at this size, in bytes.")
    ] = 50_000_000
    retain_files: Annotated[int, Meta(ge=1, le=1000, description="How many rotated log files are kept.")] = 10


class Persistence(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`persistence`: every event of orders, positions and accounts, into a local log and on into the tables."""

    enabled: Annotated[bool, Meta(description="Mirror every event; without it the tables stay empty.")] = True
    flush: Annotated[
        str,
        Meta(
            pattern="^(event|batch|power)$",
            description="When an event is in the local log: `event`, before its handler returns; "
            "`batch`, with up to 511 others; `power`, as `event`, and a command to a venue waits until its intent "
            "survives a power cut. A backtest always takes `batch`.",
        ),
    ] = "event"
    intent_timeout_ms: Annotated[
        int,
        Meta(
            ge=10,
            le=60_000,
            description="With `power`: an order that has waited this long for the disk, in ms, is denied "
            "(`INTENT_TIMEOUT`) and never sent.",
        ),
    ] = 2000
    mark_interval_ms: Annotated[
        int, Meta(ge=100, le=3_600_000, description="Time between two prices of open positions in the tables, in ms.")
    ] = 1000
    segment_bytes_max: Annotated[
        int, Meta(ge=100_000, le=1_000_000_000, description="A file of the local log is followed by a new one here.")
    ] = 16_000_000
    unshipped_bytes_max: Annotated[
        int,
        Meta(
            ge=100_000,
            le=1_000_000_000_000,
            description="More than this waiting for the tables is an alert, in bytes.",
        ),
    ] = 1_000_000_000
    on_unshipped: Annotated[
        str,
        Meta(
            pattern="^(continue|halt)$",
            description="Past that bound: `continue` trades on; `halt` denies new orders until less waits "
            "(cancels and orders that only reduce a position go on). A backtest always takes `continue`.",
        ),
    ] = "continue"
    drain_timeout_s: Annotated[
        float, Meta(gt=0, le=3600, description="Longest that a backtest waits at its end for the tables, in seconds.")
    ] = 300.0


class Synthetic(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`backtest.synthetic`: a catalog that is made from the market model when it is not there yet."""

    seed: Annotated[int, Meta(ge=0, description="Seed of the market: the same seed gives the same data.")] = 1
    start: Annotated[str, Meta(description="First moment of the data, ISO 8601.")] = "2026-01-05T00:00:00Z"
    minutes: Annotated[int, Meta(ge=1, le=10_080, description="Length of the data, in minutes.")] = 60
    interval_ms: Annotated[int, Meta(ge=1, le=60_000, description="Time between two quotes, in milliseconds.")] = 1000
    listings: Annotated[
        list[dict[str, Any]] | None,
        Meta(description="The instruments, as for the simulated data client; default: its default market."),
    ] = None


class Backtest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`backtest`: what `--backtest` needs beside the rest of the file."""

    venues: Annotated[list[Any], Meta(description="Nautilus's BacktestVenueConfig entries, verbatim.")] = []
    data: Annotated[
        list[Any],
        Meta(description="Nautilus's BacktestDataConfig entries, verbatim; default: all of the synthetic catalog."),
    ] = []
    start: Annotated[str | None, Meta(description="First moment to replay, ISO 8601; default: all.")] = None
    end: Annotated[str | None, Meta(description="Last moment to replay, ISO 8601; default: all.")] = None
    chunk_size: Annotated[
        Annotated[int, Meta(ge=1)] | None,
        Meta(description="Stream the data in chunks of this many items instead of loading it whole."),
    ] = None
    synthetic: Annotated[
        Synthetic | None, Meta(description="Make a small catalog from the market model and use it.")
    ] = None


class Suite(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The top-level keys that the suite adds to Nautilus's own."""

    data_dir: Annotated[str, Meta(description="Folder for all that a run leaves behind; `~` is your home.")] = (
        "${NAUTILUS_EXT_DATA:-~/.local/state/nautilus_ext}"
    )
    database: Database = Database()
    redis: Redis = Redis()
    logging_ext: LoggingExt = LoggingExt()
    persistence: Persistence = Persistence()
    risk: Risk = Risk()
    alerts: Alerting = Alerting()
    backtest: Annotated[
        Backtest | None, Meta(description="The other world: what `--backtest` replays, on which venues.")
    ] = None
