"""What an exchange's own staff can do to it, for tests and demonstrations."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from nautilus_ext.simulation import wire
from nautilus_ext.simulation.exchange.orders import Refusal
from nautilus_ext.simulation.faults import FaultPlan, Faults

if TYPE_CHECKING:
    from nautilus_ext.simulation.server.floor import Floor

STEPS_MAX = 10_000  # of one Control


def carry_out(floor: Floor, request: wire.Control) -> wire.Done | Refusal:
    """Act, and count the faults that there have been."""
    name = request.venue
    if name not in floor.venues:
        return Refusal("UNKNOWN_VENUE", f"{name[:40]!r}; there are {', '.join(floor.venues)}")
    refusal = _act(floor, request)
    if refusal is not None:
        return refusal
    floor.log(f"control: {request.action} {name}")
    return wire.Done(request=request.request, faults=dict(floor.plans[name].counts))


def _act(floor: Floor, request: wire.Control) -> Refusal | None:
    name = request.venue
    match request.action:
        case "faults":
            return None if request.faults is None else _set_faults(floor, name, request.faults)
        case "halt" | "open":
            floor.venues[name].set_halted(request.action == "halt", floor.now_ns())
            floor.drain(name)  # what was reached meanwhile has fired
            (floor.halted.add if request.action == "halt" else floor.halted.discard)(name)
            floor.keep_staff(name)
        case "stale" | "fresh":
            (floor.stale.add if request.action == "stale" else floor.stale.discard)(name)
            floor.keep_staff(name)
        case "pause" | "play":
            floor.is_paused = request.action == "pause"
        case "step":
            if not (floor.is_paused and 1 <= request.steps <= STEPS_MAX):
                return Refusal("BAD_REQUEST", f"1 to {STEPS_MAX:,} steps, while the market is paused")
            for _ in range(request.steps):
                floor.step()
    return None


def _set_faults(floor: Floor, venue: str, text: bytes) -> Refusal | None:
    try:
        faults = msgspec.json.decode(text, type=Faults)
    except msgspec.MsgspecError as error:
        return Refusal("BAD_REQUEST", f"{error}")
    plan = FaultPlan(faults, floor.ledger.run)
    plan.counts += floor.plans[venue].counts  # they are counted since the server began
    floor.plans[venue] = plan
    return None
