"""One TradingNode from a checked config: built, run, stopped within a bound, whatever state it is in."""

from __future__ import annotations

import asyncio
import logging
import signal
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import msgspec
from nautilus_trader.execution.client import ExecutionClient
from nautilus_trader.live.config import TradingNodeConfig
from nautilus_trader.live.node import TradingNode

from nautilus_ext.app.clients import add_account, late_factory, split_accounts
from nautilus_ext.app.guarded import require_gate
from nautilus_ext.app.snapshot import take_view
from nautilus_ext.app.view import Part, View
from nautilus_ext.config.shape import decode
from nautilus_ext.errors import ConfigError, Problem, SuiteError, VenueError
from nautilus_ext.persistence import Mirror

if TYPE_CHECKING:
    from collections.abc import Callable

    from nautilus_ext.app.stop import StopSignals
    from nautilus_ext.config.load import Config

SHUTDOWN_TOPIC = "commands.system.shutdown"
NAUTILUS_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGABRT)  # which its kernel takes over
ENGINES = ("DataEngine", "RiskEngine", "ExecEngine")
LOOK_EVERY_S = 0.5
REFUSAL_LOOK_EVERY_S = 0.1
CANCEL_TIMEOUT_S = 1.0
DRAIN_TIMEOUT_S = 1.0
IDLE_TURNS = 10  # a command takes a turn of the loop into each queue and one out of it, and is in neither meanwhile

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Ended:
    """How a run ended: as asked (`failure` is None), or why not."""

    reason: str
    failure: str | None
    ran_s: float


class Node:
    """Owns the loop and the TradingNode on it; `trade` returns when it has stopped, `dispose` frees both."""

    def __init__(
        self, config: Config, frame: View, *, on_asked: Callable[[], None], on_stopping: Callable[[str], None]
    ) -> None:
        self._timeout_connection_s = config.tree.get("timeout_connection", TradingNodeConfig().timeout_connection)
        self._timeout_post_stop_s: float = config.tree["timeout_post_stop"]
        self._frame = frame  # what the view repeats unchanged
        self._on_asked = on_asked
        self._on_stopping = on_stopping
        self._loop = asyncio.new_event_loop()
        asyncio.set_event_loop(self._loop)
        self._clients: list[Any] = []
        self._node = _build(config, self._loop, self._clients)
        self._running: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()
        self._started = asyncio.Event()
        self._reason = ""
        self._failure: str | None = None
        self._began_s = 0.0
        self.view: View | None = None
        self._is_blind = False

    def start(self, signals: StopSignals) -> None:
        """Connect, reconcile and start the strategies; raise VenueError when that fails. A signal ends it early."""
        self._loop.run_until_complete(self._start(signals))

    def trade(self, seconds: float | None) -> Ended:
        """Run until a signal, the end of `seconds` or a failure."""
        self._loop.run_until_complete(self._trade(seconds))
        return Ended(self._reason, self._failure, self._ran_s())

    @property
    def is_trading(self) -> bool:
        """Whether the start went through: a signal may have ended it before."""
        return bool(self._began_s)

    @property
    def actors(self) -> list[Any]:
        return self._node.trader.actors()

    @property
    def exec_clients(self) -> list[Any]:
        return [client for client in self._clients if isinstance(client, ExecutionClient)]

    @property
    def msgbus(self) -> Any:
        return self._node.kernel.msgbus

    def call(self, action: Callable[..., object], *arguments: Any) -> None:
        """Have the loop do it, from any thread; before the start: first of all."""
        with suppress(RuntimeError):  # the loop is closed: there is no node any more
            self._loop.call_soon_threadsafe(action, *arguments)

    def look(self) -> View:
        """The node as it is now. Only on the thread that runs the node, or after the end of it."""
        connected: dict[str, bool] = {}
        for client in self._clients:
            name = client.id.value
            connected[name] = connected.get(name, True) and client.is_connected
        parts = [Part(name, "connected" if well else "not connected", well) for name, well in connected.items()]
        seen = take_view(self._frame, self._node.trader, self._node.cache, self._node.portfolio)
        return replace(seen, running_s=self._ran_s(), parts=parts)

    def dispose(self) -> None:
        self._node.dispose()

    def _ran_s(self) -> float:
        return time.monotonic() - self._began_s if self._began_s else 0.0

    async def _start(self, signals: StopSignals) -> None:
        self._take_signals_over(signals)
        self._take_shutdown_over()
        self._watch_start()
        self._running = self._loop.create_task(self._node.run_async())
        await _first(self._started.wait(), self._wake.wait(), self._refused())
        if self._node.trader.is_running:
            self._began_s = time.monotonic()
        elif not self._wake.is_set():
            error = self._why_not_started()
            self._fail(str(error))
            await self._end()
            raise error

    async def _refused(self) -> None:
        """Return when a client has given up: Nautilus would wait for it until the time for connecting is over."""
        while self._refusal() is None:  # noqa: ASYNC110 - an event would have to reach into each client
            await asyncio.sleep(REFUSAL_LOOK_EVERY_S)

    def _refusal(self) -> SuiteError | None:
        """Why a client has given up; see `late_factory`."""
        failures = (getattr(client, "connect_failure", None) for client in self._clients)
        return next((failure for failure in failures if failure is not None), None)

    def _take_signals_over(self, signals: StopSignals) -> None:
        """On the running loop: uvloop removes nothing before, and a signal would start two stops that cross."""
        for number in NAUTILUS_SIGNALS:
            self._loop.remove_signal_handler(number)
        signals.install()
        signals.hand_to(self._ask)

    def _take_shutdown_over(self) -> None:
        """An engine that fails asks for a shutdown: there is one way to stop, ours, which no failure cuts short."""
        bus = self._node.kernel.msgbus
        bus.unsubscribe(SHUTDOWN_TOPIC, self._node.kernel._on_shutdown_system)  # noqa: SLF001 - its handler has no other name
        bus.subscribe(SHUTDOWN_TOPIC, self._on_shutdown)

    def _watch_start(self) -> None:
        """Nautilus goes on idling when its start fails: learn of the end of the start, good or bad."""
        kernel = self._node.kernel
        start = kernel.start_async

        async def start_and_tell() -> None:
            try:
                await start()
            finally:
                self._started.set()

        kernel.start_async = start_and_tell

    async def _trade(self, seconds: float | None) -> None:
        assert self._running is not None, "start comes before trade"
        end_s = self._began_s + seconds if seconds is not None else float("inf")
        while not self._wake.is_set():
            self._see()
            wait_s = min(LOOK_EVERY_S, max(0.0, end_s - time.monotonic()))
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), wait_s)
            if time.monotonic() >= end_s:
                self._stop(f"{seconds:g} seconds are over")
            elif self._running.done():
                self._fail("the engines ended by themselves: see the log")
        await self._end()

    def _see(self) -> None:
        """What people look at must not end what trades: a view that cannot be drawn stays as it was."""
        try:
            self.view = self.look()
        except Exception:
            if not self._is_blind:
                _logger.exception("the live view cannot be drawn and stands still: the node trades on")
            self._is_blind = True
        else:
            self._is_blind = False

    async def _end(self) -> None:
        """Stop in an order that no state of the node can turn into a hang; the caller's watchdog bounds the whole."""
        running = self._running
        assert running is not None, "start comes before the end"
        if not self._started.is_set():
            running.cancel()  # a start that finished during the stop would start the strategies again
            await asyncio.wait({running}, timeout=CANCEL_TIMEOUT_S)
        if not self._node.trader.is_running:
            await self._stop_the_rest()  # a start that failed half-way has strategies that run, and maybe orders
        await self._drain_commands()
        try:
            await self._node.stop_async()
        except Exception as error:
            _logger.exception("the stop failed")
            self._failure = self._failure or f"the stop failed: {type(error).__name__}: {error}"
            await self._stop_the_rest()
            await self._node.stop_async()
        await asyncio.wait({running}, timeout=CANCEL_TIMEOUT_S)
        rest = asyncio.all_tasks() - {asyncio.current_task()}
        for task in rest:
            task.cancel()
        if rest:
            await asyncio.wait(rest, timeout=CANCEL_TIMEOUT_S)

    async def _drain_commands(self) -> None:
        """An order on its way to its client is not open in the cache: a strategy that cancels all would miss it."""
        engines = (self._node.kernel.risk_engine, self._node.kernel.exec_engine)
        mirrors = [actor for actor in self.actors if isinstance(actor, Mirror)]
        deadline_s = time.monotonic() + DRAIN_TIMEOUT_S
        idle_turns = 0
        while idle_turns < IDLE_TURNS and time.monotonic() < deadline_s:
            busy = any(engine.cmd_qsize() or engine.evt_qsize() for engine in engines)
            busy = busy or any(mirror.parked for mirror in mirrors)
            idle_turns = 0 if busy else idle_turns + 1
            await asyncio.sleep(0)
        for mirror in mirrors:
            mirror.give_up_parked()

    async def _stop_the_rest(self) -> None:
        """Nautilus's trader gives up at the first component that raises: the others still have orders to cancel."""
        trader = self._node.trader
        running = [
            component
            for component in (*trader.actors(), *trader.strategies(), *trader.exec_algorithms())
            if component.is_running
        ]
        for component in running:
            try:
                component.stop()
            except Exception:
                _logger.exception("%s failed at the stop", component.id)
        if running:
            await asyncio.sleep(self._timeout_post_stop_s)

    def _ask(self, reason: str) -> None:
        """In a signal handler: nothing here may take a lock or wait for the loop."""
        self._on_asked()
        with suppress(RuntimeError):  # the loop is closed: the end is near anyway
            self._loop.call_soon_threadsafe(self._stop, reason)

    def _stop(self, reason: str) -> None:
        if self._wake.is_set():
            return
        self._on_asked()
        self._reason = reason
        self._wake.set()
        self._on_stopping(reason)

    def _fail(self, failure: str) -> None:
        self._failure = self._failure or failure
        self._stop(failure)

    def _on_shutdown(self, command: Any) -> None:
        """An engine asks for it when a handler raised; a strategy or a client, when its work is done."""
        sender = command.component_id.value
        end = self._fail if sender in ENGINES else self._stop
        self._loop.call_soon_threadsafe(end, f"{sender}: {command.reason}")  # maybe on the thread of a timer

    def _why_not_started(self) -> SuiteError:
        if self._running is not None and self._running.done() and not self._running.cancelled():
            error = self._running.exception()
            if error is not None:
                return SuiteError(f"the start failed: {type(error).__name__}: {error}")
        refusal = self._refusal()
        if refusal is not None:
            return refusal
        away = [client for client in self._clients if not client.is_connected]
        if away:
            names = ", ".join(sorted({client.id.value for client in away}))
            troubles = dict.fromkeys(getattr(client, "connect_trouble", "") for client in away)
            lines = [f"not connected within {self._timeout_connection_s:g} s: {names}", *filter(None, troubles)]
            return VenueError("\n  ".join(lines))
        return VenueError("reconciliation with the venues, or the portfolio, was not ready in time: see the log")


def _build(config: Config, loop: asyncio.AbstractEventLoop, clients: list[Any]) -> TradingNode:
    tree = {key: value for key, value in config.tree.items() if key not in ("data_clients", "exec_clients")}
    try:
        settings = decode(tree, TradingNodeConfig)
        firsts, further = split_accounts(config.exec_clients)
        settings = msgspec.structs.replace(
            settings,
            data_clients={spec.name: spec.decode(spec.config) for spec in config.data_clients},
            exec_clients={spec.name: spec.decode(spec.config) for spec in firsts},
        )
        node = TradingNode(config=settings, loop=loop)
        for spec in config.data_clients:
            node.add_data_client_factory(spec.name, late_factory(spec, config.secrets, clients))
        for spec in firsts:
            node.add_exec_client_factory(spec.name, late_factory(spec, config.secrets, clients))
        node.build()
        for spec in further:
            add_account(node, spec, late_factory(spec, config.secrets, clients))
        require_gate(config, node.trader.actors())
    except SuiteError:
        raise  # a client that says itself what the operator does next
    except Exception as error:
        refusal = f"Nautilus refuses this config: {type(error).__name__}: {error}"
        raise ConfigError(str(config.source), [Problem("", refusal)]) from error
    return node


async def _first(*awaitables: Any) -> None:
    tasks = [asyncio.ensure_future(awaitable) for awaitable in awaitables]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
