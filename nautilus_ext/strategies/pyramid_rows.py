"""What a pyramid keeps in the portfolio's tables: changed in memory at once, written one save after the other."""

from collections.abc import Callable
from decimal import Decimal

from msgspec.structs import replace
from nautilus_trader.model.instruments import Instrument
from nautilus_trader.trading.strategy import Strategy

from nautilus_ext.messages import PORTFOLIO, Answer, Ask, ReadPyramid
from nautilus_ext.schema.portfolio_rows import Changes, PositionRow, PyramidRow, Signal, SignalOutcome


class PyramidRows:
    """Open rows, the pyramid's state and the outcomes of signals. While the store is away they wait here."""

    def __init__(
        self, strategy: Strategy, instrument: Instrument, on_first_read: Callable[[tuple[Signal, ...]], None]
    ) -> None:
        self.strategy, self.instrument, self.on_first_read = strategy, instrument, on_first_read
        self.key = {"strategy_id": strategy.id.value, "instrument_id": instrument.id.value}
        self.currency = instrument.get_cost_currency()
        self.open: dict[str, PositionRow] = {}  # by the client order id of the entry, the oldest first
        self.state = PyramidRow(**self.key)
        self.saved_state: PyramidRow | None = self.state  # None: to be written whatever the tables hold
        self.unsaved: dict[str, PositionRow] = {}
        self.outcomes: dict[str, SignalOutcome] = {}
        self.versions: dict[str, int] = {}
        self.saving: Changes | None = None
        self.reading = self.is_read = self.was_read = False
        self.conflicts = 0  # in a row: a save that ended otherwise ends it
        self.trouble = ""

    def are_settled(self) -> bool:
        """Whether the tables know all that is known here; if not, what is missing is asked for or written."""
        if not self.is_read:
            self.read()
        self.save()
        return self.is_read and self.saving is None and not self._is_unsaved()

    def put(self, row: PositionRow) -> None:
        self.unsaved[row.position_id] = row
        if row.status == "closed":
            self.open.pop(row.position_id, None)
            if not self.open:
                self.state = PyramidRow(**self.key, version=self.state.version)
        else:
            self.open[row.position_id] = row

    def mark(self, outcome: SignalOutcome) -> None:
        self.outcomes[outcome.fingerprint] = outcome

    def ask(self, question: ReadPyramid | Signal | Changes, answer: Callable[[Answer], None]) -> None:
        bus = self.strategy.msgbus
        if PORTFOLIO in bus.endpoints():
            bus.send(PORTFOLIO, Ask(question, answer))
        else:
            answer(Answer(problem="there is no portfolio store: is persistence switched off?"))

    def hold_fire(self, trouble: str) -> None:
        """Say once why nothing is sent."""
        if trouble != self.trouble:
            self.trouble = trouble
            message = f"Holding fire: {trouble}"
            self.strategy.log.warning(message)

    # -- writing

    def save(self) -> None:
        """One save at a time: what changes meanwhile goes with the next one."""
        if not self.is_read or self.saving is not None or not self._is_unsaved():
            return
        rows = (replace(row, version=self.versions.get(name, 0)) for name, row in self.unsaved.items())
        self.saving = Changes(
            positions=tuple(rows),
            pyramid=self.state if self.state != self.saved_state else None,
            outcomes=tuple(self.outcomes.values()),
        )
        self.unsaved, self.outcomes = {}, {}
        self.ask(self.saving, self._saved)

    def _is_unsaved(self) -> bool:
        return bool(self.unsaved or self.outcomes or self.state != self.saved_state)

    def _saved(self, answer: Answer) -> None:
        tried, self.saving = self.saving, None
        assert tried is not None, "only a save is answered here"
        self.conflicts = self.conflicts + 1 if answer.stale else 0
        if answer.problem:  # nobody knows whether it is in the tables: a conflict will tell
            self.unsaved = {row.position_id: row for row in tried.positions} | self.unsaved
            self.outcomes = {each.fingerprint: each for each in tried.outcomes} | self.outcomes
            self.hold_fire(answer.problem)
            if answer.stale:
                self.is_read = False
            if self.conflicts == 1:  # no bar may come any more; after a second one somebody else writes: not at once
                self.read()
            return
        self.trouble = ""
        for row in answer.value.positions:
            self.versions[row.position_id] = row.version
            if row.status == "closed" and row.position_id not in self.unsaved:
                del self.versions[row.position_id]
        state = answer.value.pyramid
        if state is not None:
            self.saved_state, self.state = state, replace(self.state, version=state.version)
        self.save()

    # -- reading

    def read(self) -> None:
        """At the start, and again after a conflict: then what is known here stays, and the versions are learned."""
        if self.reading:
            return
        self.reading = True
        account = self.strategy.portfolio.account(self.instrument.venue)
        balance = account.balance_total(self.currency) if account is not None else None
        question = ReadPyramid(
            **self.key,
            currency=self.currency.code,
            capital=balance.as_decimal() if balance is not None else Decimal(0),
            position_ids=tuple(self.unsaved),
        )
        self.ask(question, self._read)

    def _read(self, answer: Answer) -> None:
        self.reading = False
        if answer.problem:
            self.hold_fire(answer.problem)
            return
        self.is_read, self.trouble = True, ""
        for row in answer.value.positions:
            self.versions[row.position_id] = row.version
            if row.status != "closed" and row.position_id not in self.unsaved:
                self.open[row.position_id] = row
        if self.was_read:
            self._learn(answer.value.state)
        else:
            self.was_read = True
            self.state = self.saved_state = answer.value.state or self.state
            self.on_first_read(answer.value.claimed)
        self.save()

    def _learn(self, state: PyramidRow | None) -> None:
        """Write the state even if the tables hold it: the store counts what it has refused until it is written."""
        self.saved_state = None
        self.state = replace(self.state, version=state.version if state is not None else 0)
