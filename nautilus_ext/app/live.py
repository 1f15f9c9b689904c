"""A live or paper run from the first step to the summary: every part opened here is closed here, in order."""

from __future__ import annotations

import gc
import logging
import os
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from nautilus_ext.app.book import BookHold
from nautilus_ext.app.command import EXIT_DEFECT
from nautilus_ext.app.database import Redis
from nautilus_ext.app.ground import attach_log_file, instance_id, open_log, prepared_tables
from nautilus_ext.app.stop import Interrupted
from nautilus_ext.app.summary import show_summary
from nautilus_ext.app.view import Part, View
from nautilus_ext.config.suite import MAX_STOP_S
from nautilus_ext.errors import BookLost, MachineError, SuiteError, VenueError

if TYPE_CHECKING:
    from pathlib import Path

    from nautilus_ext.app.commanding import Channel
    from nautilus_ext.app.database import Tables
    from nautilus_ext.app.journal import Journal
    from nautilus_ext.app.node import Ended, Node
    from nautilus_ext.app.screen import Screen
    from nautilus_ext.app.stop import StopSignals
    from nautilus_ext.config import Config
    from nautilus_ext.logs import LogSession

LOG_CLOSE_S = 1.0
SHIP_S = 1.0  # what the tables get at the end; then the shipper goes on alone
ABANDON_S = 2.0  # for the log, the screen and the watchdog itself
WATCH_S = 0.2
_logger = logging.getLogger(__name__)


def run_live(
    config: Config,
    screen: Screen,
    signals: StopSignals,
    *,
    seconds: float | None,
    book: str | None,
    accepts_loss: bool = False,
    halted: bool = False,
) -> int:
    """Trade until asked to stop; return the exit code."""
    book_id = book or config.book_id
    with prepared_tables(config, screen) as tables, open_log(config, tables, screen) as log:
        run = _LiveRun(config, screen, signals, log, accepts_loss=accepts_loss, halted=halted)
        return run.run(tables, book_id, seconds)


class _LiveRun:
    """What the callbacks of one run share."""

    def __init__(
        self,
        config: Config,
        screen: Screen,
        signals: StopSignals,
        log: LogSession,
        *,
        accepts_loss: bool,
        halted: bool,
    ) -> None:
        self._config = config
        self._screen = screen
        self._signals = signals
        self._log = log
        self._accepts_loss = accepts_loss
        self._halted = halted
        self._channel: Channel | None = None
        self._redis: Redis | None = None
        self._hold: BookHold | None = None
        self._last_seq = 0
        self._asked_s: float | None = None
        self._ended = False

    def run(self, tables: Tables, book_id: str, seconds: float | None) -> int:
        with self._screen.step("book") as step:
            hold = self._hold = self._acquire(tables, book_id)
            step.detail = f"{book_id}, run {hold.run}"
        self._signals.after_pause(hold.confirm)
        threading.Thread(target=self._watch_stop, name="stop-watchdog", daemon=True).start()
        exit_code = EXIT_DEFECT
        try:
            exit_code = self._trade(tables, hold, seconds, attach_log_file(self._log, self._config, book_id))
        except (SuiteError, Interrupted) as error:
            exit_code = error.exit_code
            raise
        finally:
            hold.release(clean=exit_code == 0, exit_code=exit_code, last_seq=self._last_seq)
            self._screen.flush()  # the log closes the terminal that it lent
            self._ended = True
        return exit_code

    def _acquire(self, tables: Tables, book_id: str) -> BookHold:
        return BookHold.acquire(
            lambda: tables.app_url,
            book_id=book_id,
            trader_id=self._config.trader_id,
            environment="live" if self._config.world == "live" else "paper",
            instance_id=instance_id(self._config),
            connect_timeout_s=self._config.suite.database.connect_timeout_s,
            on_lost=self._lost,
        )

    def _trade(self, tables: Tables, hold: BookHold, seconds: float | None, log_file: str) -> int:
        config, screen = self._config, self._screen
        holdings = self._restored(tables, hold)
        with screen.step("node") as step:
            from nautilus_ext.app.journal import Account, Journal  # noqa: PLC0415 - most of this step is importing the engine
            from nautilus_ext.app.node import Node  # noqa: PLC0415 - as above
            from nautilus_ext.app.watching import Watching  # noqa: PLC0415 - as above

            screen.move_to(self._log.capture_output)
            frame = View(book=hold.book_id, run=hold.run, world=config.world)
            placed = config.for_run(hold.book_id, hold.run, hold.epoch, holdings)
            node = Node(placed, frame, on_asked=self._asked, on_stopping=self._stopping)
            step.detail = f"{len(config.tree.get('strategies', []))} strategies, {len(config.exec_clients)} venues"
        # What was imported and built is no garbage: to walk it again and again stops the loop for tenths of a second.
        gc.collect()
        gc.freeze()
        journal: Journal | None = None
        watching = Watching(config, tables, node, hold)
        clean, account = False, Account("", whole=True)
        try:
            journal = Journal(config, tables, node.actors, hold, node.exec_clients)
            self._hear_commands(tables, hold, node)
            ended, view = self._until_the_end(hold, node, journal, seconds)
            clean = not ended.failure
        except (VenueError, MachineError) as error:
            raise type(error)(f"{error}\n  log: {log_file}") from None
        finally:
            screen.unwatch()
            self._hear_no_more()
            try:
                node.dispose()
            finally:
                watching.end()
                if journal is not None:
                    account = journal.finish(clean=clean, timeout_s=SHIP_S)
                    self._last_seq = journal.seq
                watching.close()
        show_summary(screen, view, ended, account.text, log_file)
        return 0 if clean and account.whole else EXIT_DEFECT

    def _hear_commands(self, tables: Tables, hold: BookHold, node: Node) -> None:
        """From here on; what waits already, and that the node starts halted, comes before its first order."""
        if not self._config.suite.persistence.enabled:
            return
        from nautilus_ext.app.commanding import open_channel  # noqa: PLC0415 - as below

        redis_url = None
        if self._config.suite.redis.url:
            self._redis = Redis(self._config)
            redis_url = self._redis.url_now
        self._channel = open_channel(self._config, lambda: tables.app_url, redis_url, hold, node)
        self._channel.begin(halted=self._halted)

    def _hear_no_more(self) -> None:
        if self._channel is not None:
            self._channel.end()
        if self._redis is not None:
            self._redis.close()

    def _restored(self, tables: Tables, hold: BookHold) -> Path | None:
        if not self._config.suite.persistence.enabled:
            return None
        with self._screen.step("restore") as step:
            from nautilus_ext.app.restoring import prepare  # noqa: PLC0415 - as below

            prepared = prepare(self._config, tables, hold, accepts_loss=self._accepts_loss)
            step.detail = prepared.text
        return prepared.path

    def _until_the_end(self, hold: BookHold, node: Node, journal: Journal, seconds: float | None) -> tuple[Ended, View]:
        with self._screen.step("venues") as step:
            node.start(self._signals)
            step.detail = "connected and reconciled" if node.is_trading else "interrupted"
        if node.is_trading:
            hold.set_status("running")
            self._screen.watch(lambda: self._whole(hold, journal, node.view))
        return node.trade(seconds), node.look()

    def _whole(self, hold: BookHold, journal: Journal, view: View | None) -> View | None:
        """The node's own view, with the parts around it that are not the node's."""
        if view is None:
            return None
        lost = self._log.lost
        parts = [
            *view.parts,
            Part("database", hold.status.word, well=hold.status.word == "held"),
            journal.part,
            *self._commands_part(),
            Part("log", f"{lost:,} lines lost" if lost else "written", well=not lost),
        ]
        return replace(view, parts=parts, alerts=[f"{alert.ts[11:19]} {alert.message}" for alert in self._log.alerts])

    def _commands_part(self) -> list[Part]:
        if self._channel is None:
            return []
        return [Part("commands", self._channel.trouble or "heard", well=not self._channel.trouble)]

    def _stopping(self, reason: str) -> None:
        """The end is asked for: from here on the clock runs, and a part that hangs is left behind."""
        assert self._hold is not None, "a run that stops has its book"
        _logger.info("stopping: %s", reason)
        self._hold.set_status("stopping")
        self._screen.unwatch()
        if self._screen.tty:
            self._screen.say(f"  stopping: {reason}")

    def _asked(self) -> None:
        """From here on the clock runs. Called by signal handlers too, so it takes no lock."""
        self._asked_s = self._asked_s or time.monotonic()

    def _watch_stop(self) -> None:
        """Whatever hangs, a loop that stands still included, is left behind in time."""
        while not self._ended:
            time.sleep(WATCH_S)
            if self._asked_s is not None and time.monotonic() - self._asked_s > MAX_STOP_S - ABANDON_S:
                overdue = f"the stop took longer than {MAX_STOP_S:g} s and was cut short: venues keep what is working"
                self._abandon(overdue, EXIT_DEFECT)

    def _lost(self, reason: str) -> None:
        """Another node owns the book: not one more order, not even the strategies' own clean-up."""
        self._abandon(f"lost the book: {reason}", BookLost.exit_code)

    def _abandon(self, message: str, exit_code: int) -> None:
        """Called by threads of our own: the loop must not trade on while the last lines are written.

        It may be frozen with a lock in its hand that these lines need: then the process ends without them.
        """
        last = threading.Timer(ABANDON_S, os._exit, (exit_code,))
        last.daemon = True
        last.start()
        self._signals.freeze()
        _logger.critical(message)
        self._log.close(LOG_CLOSE_S)
        self._screen.unwatch()
        self._screen.say(f"  ✗ {message}")
        self._screen.close()
        os._exit(exit_code)
