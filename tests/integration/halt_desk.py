"""Commands for the gate of a stage, as an operator's thread hands them over."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from nautilus_trader.common.actor import Actor
from nautilus_trader.common.config import ActorConfig

from nautilus_ext.messages import COMMAND, STANDING, AppliedCommand, CommandAsked
from nautilus_ext.risk.commands import (
    CancelAll,
    Command,
    Flatten,
    Narrow,
    Resume,
    SetLimit,
    SetOverride,
    Stop,
)

if TYPE_CHECKING:
    from risk_stage import Stage

WHY = "a test"


class Operator:
    """Asks, and keeps what was answered: `asked` is answered once each."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self.asked: list[Command] = []
        self.answers: list[list[tuple[bool, str]]] = []

    def ask(self, what: Any) -> list[tuple[bool, str]]:
        command = Command(command_id=f"c{len(self.asked)}", issued_by="ann", what=what)
        answers: list[tuple[bool, str]] = []
        self.asked.append(command)
        self.answers.append(answers)
        self._stage.bus.send(COMMAND, CommandAsked(command=command, answer=lambda *each: answers.append(each)))
        return answers

    def halt(self, scope: str, *, flatten: bool = False) -> list[tuple[bool, str]]:
        return self.ask(Stop(scope=scope, why=WHY, flatten=flatten))

    def narrow(self, scope: str) -> list[tuple[bool, str]]:
        return self.ask(Narrow(scope=scope, why=WHY))

    def resume(self, scope: str) -> list[tuple[bool, str]]:
        return self.ask(Resume(scope=scope, why=WHY))

    def cancel_all(self, scope: str) -> list[tuple[bool, str]]:
        return self.ask(CancelAll(scope=scope, why=WHY))

    def flatten(self, scope: str) -> list[tuple[bool, str]]:
        return self.ask(Flatten(scope=scope, why=WHY))

    def limit(self, scope: str, key: str, value: Any) -> list[tuple[bool, str]]:
        return self.ask(SetLimit(scope=scope, key=key, value=value, why=WHY))

    def override(self, code: str, scope: str, until: str) -> list[tuple[bool, str]]:
        return self.ask(SetOverride(code=code, scope=scope, until=until, why=WHY))

    def standing(self) -> bytes:
        """What the tables would hand to the next start."""
        kept = [
            AppliedCommand(
                applied_ns=number + 1,
                command_id=command.command_id,
                kind=command.kind,
                arguments=command.arguments,
                issued_by=command.issued_by,
            )
            for number, (command, answers) in enumerate(zip(self.asked, self.answers, strict=True))
            if answers and answers[0][0]
        ]
        return msgspec.json.encode(kept)


def stood(stage_cache: Any, told: bytes) -> None:
    stage_cache.add(STANDING, told)


class StoodConfig(ActorConfig, frozen=True):
    """`told`: what the tables would hand to this start."""

    told: str


class Stood(Actor):
    """In front of the gate in a node's file: what `prepare` leaves in the cache."""

    def __init__(self, config: StoodConfig) -> None:
        super().__init__(config)
        self._told = config.told

    def register_base(self, portfolio: Any, msgbus: Any, cache: Any, clock: Any) -> None:
        super().register_base(portfolio, msgbus, cache, clock)
        cache.add(STANDING, self._told.encode())
