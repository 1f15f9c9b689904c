"""The same file as a backtest: its own book, no lock, nothing of a live book touched."""

from __future__ import annotations

import secrets
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from nautilus_trader.backtest.node import BacktestNode
from nautilus_trader.common.component import set_backtest_force_stop

from nautilus_ext.app.book import BacktestBook
from nautilus_ext.app.command import EXIT_DEFECT
from nautilus_ext.app.ground import attach_log_file, instance_id, open_log, prepared_tables
from nautilus_ext.app.guarded import require_gate
from nautilus_ext.app.journal import Journal
from nautilus_ext.app.snapshot import take_view
from nautilus_ext.app.stop import Interrupted
from nautilus_ext.app.summary import show_account
from nautilus_ext.app.view import View
from nautilus_ext.config.backtest import market_config, parity_report, run_config
from nautilus_ext.errors import ConfigError, Problem, SuiteError
from nautilus_ext.simulation import ensure_catalog

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nautilus_trader.backtest.results import BacktestResult

    from nautilus_ext.app.screen import Screen
    from nautilus_ext.app.stop import StopSignals
    from nautilus_ext.config import Config


SHIP_CUT_S = 1.0
Data = tuple[str | None, tuple[str, ...]]  # the synthetic catalog, if the file asks for one, and what is in it


def run_backtest(config: Config, screen: Screen, signals: StopSignals, *, book: str | None) -> int:
    """Replay the data of the config; return the exit code."""
    book_id = book or _fresh_book(config.trader_id)
    parity = parity_report(config)
    if parity:
        screen.say(f"  note: {len(parity)} settings are not the same in a backtest: `check --backtest` names them")
    with prepared_tables(config, screen) as tables, open_log(config, tables, screen) as log:
        with screen.step("data") as step:
            data = _catalog(config)
            step.detail = data[0] or "the catalogs of backtest.data"
        with screen.step("book") as step:
            record = BacktestBook.record(
                tables.app_url,
                book_id=book_id,
                trader_id=config.trader_id,
                instance_id=instance_id(config),
                connect_timeout_s=config.suite.database.connect_timeout_s,
            )
            step.detail = book_id
        exit_code = EXIT_DEFECT
        journal: Journal | None = None
        try:
            log_file = attach_log_file(log, config, book_id)
            screen.move_to(log.capture_output)
            with screen.step("engine") as step:
                node = _built(config.for_run(book_id, record.run, record.epoch), *data)
                step.detail = f"{len(config.tree.get('strategies', []))} strategies"
            journal = Journal(config, tables, node.get_engines()[0].trader.actors(), record)
            with _shipped(config, screen, node, journal):
                _replay(config, screen, signals, node, View(book=book_id, run=record.run, world=config.world))
                signals.take_back()
            if Path(log_file).exists():  # nothing to tell at this level, no file
                screen.say(f"  log        {log_file}")
            exit_code = 0
        except (SuiteError, Interrupted) as error:
            exit_code = error.exit_code
            raise
        finally:
            record.release(clean=exit_code == 0, exit_code=exit_code, last_seq=journal.seq if journal else 0)
            screen.flush()  # the log closes the terminal that it lent
    return exit_code


@contextmanager
def _shipped(config: Config, screen: Screen, node: BacktestNode, journal: Journal) -> Iterator[None]:
    """A replay that was cut short leaves what the tables lack to the shipper."""
    clean = False
    try:
        yield
        clean = True
    finally:
        node.dispose()
        timeout_s = config.suite.persistence.drain_timeout_s if clean else SHIP_CUT_S
        with screen.step("journal") as step:
            account = journal.finish(clean=clean, timeout_s=timeout_s)
            step.detail = account.text
    if not account.whole:
        raise SuiteError(f"the journal is not whole: {account.text}")


def _replay(config: Config, screen: Screen, signals: StopSignals, node: BacktestNode, frame: View) -> None:
    with screen.step("replay") as step:
        # Compiled code swallows what a handler raises: the replay is told to stop instead.
        signals.hand_to(lambda _reason: set_backtest_force_stop(True))
        (result,) = node.run()
        signals.check()
        if not result.iterations:
            empty = "no data: is the catalog's path right, and does the range hold any?"
            raise ConfigError(str(config.source), [Problem("backtest.data", empty)])
        step.detail = f"{result.iterations:,} data, {result.total_events:,} events, {_range(result)}"
    screen.say("")
    screen.say(f"  {frame.book}, run {frame.run}")
    engine = node.get_engines()[0]
    show_account(screen, take_view(frame, engine.trader, engine.cache, engine.portfolio))
    for currency, figures in result.stats_pnls.items():
        shown = ", ".join(f"{name.lower()} {value:,.4g}" for name, value in figures.items() if value == value)  # noqa: PLR0124 - drops NaN
        screen.say(f"  figures    {currency}: {shown}")


def _built(config: Config, catalog: str | None, instrument_ids: tuple[str, ...]) -> BacktestNode:
    try:
        node = BacktestNode([run_config(config, catalog, instrument_ids)])
        node.build()
        require_gate(config, node.get_engines()[0].trader.actors())
    except ConfigError:
        raise
    except Exception as error:
        refusal = f"Nautilus refuses this backtest: {type(error).__name__}: {error}"
        raise ConfigError(str(config.source), [Problem("backtest", refusal)]) from error
    return node


def _range(result: BacktestResult) -> str:
    moments = (result.backtest_start or 0, result.backtest_end or 0)
    start, end = (datetime.fromtimestamp(moment / 1e9, UTC) for moment in moments)
    return f"{start:%Y-%m-%d %H:%M:%S} to {end:%Y-%m-%d %H:%M:%S} UTC"


def _fresh_book(trader_id: str) -> str:
    """Each backtest is a book of its own, also when two start in the same second."""
    return f"{trader_id}.backtest.{datetime.now(UTC):%Y%m%dT%H%M%S}.{secrets.token_hex(3)}"


def _catalog(config: Config) -> Data:
    settings = config.suite.backtest
    if settings is None or settings.synthetic is None:
        return None, ()
    synthetic = settings.synthetic
    market = market_config(synthetic).to_market()
    catalog = ensure_catalog(config.data_dir / "catalogs", market, synthetic.start, synthetic.minutes)
    return str(catalog.path), catalog.instrument_ids
