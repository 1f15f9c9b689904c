"""`why`: the reason of an order's fate in plain words, with the verdicts that led to it. Nothing here writes."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any, NamedTuple

from nautilus_ext.app import asked, reasons, risk_words
from nautilus_ext.app.database import open_tables
from nautilus_ext.app.desk import lived, meant, several, tell_head, wrapped_after
from nautilus_ext.app.desk_session import Session
from nautilus_ext.app.desk_views import as_json, counted, today
from nautilus_ext.app.follow import until_left
from nautilus_ext.app.order_life import OTHERS_SHOWN, Step, what
from nautilus_ext.app.paper import Paper
from nautilus_ext.app.text_tables import moment, plain
from nautilus_ext.persistence import reading
from nautilus_ext.persistence.reading import Question, rows
from nautilus_ext.risk.limits import Rulebook

if TYPE_CHECKING:
    import argparse

    from nautilus_ext.app.command import Command
    from nautilus_ext.app.database import Tables
    from nautilus_ext.app.desk_views import Standing
    from nautilus_ext.app.text_tables import Row
    from nautilus_ext.config import Config

EXIT_OK = 0
EXIT_UNKNOWN = 1


class Case(NamedTuple):
    """What the tables know of an order that bears on its fate."""

    order: Row
    decisions: list[Row]
    refusals: list[Step]  # in Nautilus's and the venue's words
    parent: Row | None
    parent_decisions: list[Row]
    children: list[Row]
    members: list[Row]  # of its list, itself among them


def why(command: Command, options: argparse.Namespace) -> int:
    asked.check(options, "why")
    config = command.load(options.config, backtest=options.backtest)
    paper = Paper(command.mask)
    with open_tables(config) as tables, until_left(followed=False):
        return asyncio.run(_why(config, tables, options, paper))
    return EXIT_OK  # the reader left


async def _why(config: Config, tables: Tables, options: argparse.Namespace, paper: Paper) -> int:
    async with await Session.of_book(config, tables, options.book) as session:
        found = await meant(session, options.id)
        if len(found) > 1:
            several(found, options, paper)
            return EXIT_OK
        standing = await session.standing()
        if not found:
            return await _without_order(session, options, paper)
        case = await _case(session, found[0])
    risk = config.suite.risk
    gate = reasons.Gate(risk.enabled, Rulebook(risk).approvals_recorded_every)
    said = reasons.answer(case.order, case.decisions, gate)
    if options.json:
        paper.say(json.dumps(_as_json(case, said, gate), indent=2))
    else:
        tell_head(case.order, _facts(case, said), paper)
        _tell_steps(case, paper)
        _tell_below(case, standing, options, paper)
    return EXIT_OK


async def _case(session: Session, order: Row) -> Case:
    order_id, parent_id, list_id = (
        order[f"{each}_id"] for each in ("client_order", "parent_client_order", "order_list")
    )
    life = await lived(session, order_id)
    (parent,) = await _asked(session, reading.LEGS, [parent_id]) or [None] if parent_id else [None]
    return Case(
        order=order,
        decisions=await _asked(session, reading.DECISIONS, order_id),
        refusals=[step for step in life.steps if step.row["type"] in reasons.TOLD],
        parent=parent,
        parent_decisions=await _asked(session, reading.DECISIONS, parent_id) if parent_id else [],
        children=await _asked(session, reading.CHILDREN, order_id),
        members=await _asked(session, reading.MEMBERS, list_id, order["created_ns"]) if list_id else [],
    )


async def _asked(session: Session, sql: str, *arguments: Any) -> list[Row]:
    return await rows(session.connection, Question(sql, [session.book_id, *arguments]))


async def _without_order(session: Session, options: argparse.Namespace, paper: Paper) -> int:
    """An order may have verdicts before it has a row; else it is none of this book."""
    decisions = await _asked(session, reading.DECISIONS, options.id)
    if not decisions:
        paper.warn(
            f"{session.book_id} has no order {options.id!r}, by our id, by the venue's, or as an operation, and no "
            f"verdict on one: it was never made here; `python -m nautilus_ext orders {options.config}` lists its "
            "orders, --book NAME reads another book"
        )
        return EXIT_UNKNOWN
    said = reasons.of_decisions(decisions)
    if options.json:
        told = {"order": None, "answer": said._asdict(), "decisions": [*map(risk_words.as_json, decisions)]}
        paper.say(json.dumps(told, indent=2))
    else:
        paper.say(*wrapped_after("", 2, plain(f"{options.id}: {said.text}"), paper))
        paper.say(*wrapped_after("", 2, plain(f"cure: {said.cure}"), paper) if said.cure else ())
    return EXIT_OK


def _as_json(case: Case, said: reasons.Answer, gate: reasons.Gate) -> dict[str, Any]:
    return {
        "order": as_json(case.order),
        "answer": said._asdict(),
        "also": [text for _, text in reasons.asides(case.order, case.decisions)],
        "decisions": [*map(risk_words.as_json, case.decisions)],
        "refusals": [step.as_json() for step in case.refusals],
        "reservation": reasons.reservation(case.decisions) or None,
        "parent": None if case.parent is None else as_json(case.parent),
        "parent_reservation": reasons.reservation(case.parent_decisions) or None,
        "children": [*map(as_json, case.children)],
        "list": [*map(as_json, case.members)],
        "gate": {"enabled": gate.is_on, "approvals_recorded_every": gate.recorded_every},
    }


def _facts(case: Case, said: reasons.Answer) -> list[tuple[str, str]]:
    """The head: what it is, why it is so, what can be done, and the family."""
    order = case.order
    pairs = [
        ("order", what(order)),
        ("strategy", order["strategy_id"]),
        ("why", said.text),
        ("cure", said.cure),
        *reasons.asides(order, case.decisions),
        ("reserved", reasons.reservation(case.decisions)),
        ("parent", _with_reason(case.parent) if case.parent is not None else ""),
        ("its reserve", reasons.reservation(case.parent_decisions)),
        *_family("child", case.children),
        *_family("list", [each for each in case.members if each["client_order_id"] != order["client_order_id"]]),
    ]
    return [(name, text) for name, text in pairs if text]


def _family(name: str, others: list[Row]) -> list[tuple[str, str]]:
    """Those that were refused first: they are what is asked about."""
    ordered = sorted(others, key=lambda each: not each["rejection_reason"])
    more = len(ordered) - OTHERS_SHOWN
    return [
        *((name, _with_reason(each)) for each in ordered[:OTHERS_SHOWN]),
        *([(name, f"and {more:,} more")] if more > 0 else []),
    ]


def _with_reason(order: Row) -> str:
    reason = f": {order['rejection_reason']}" if order["rejection_reason"] else ""
    return f"{order['client_order_id']}  {order['status']}{reason}"


def _tell_steps(case: Case, paper: Paper) -> None:
    """The verdicts and the refusals in their order, each verdict with what the gate saw."""
    day = today()
    told = [((row["run"], row["seq"]), row["ts_ns"], _verdict(row)) for row in case.decisions]
    told += [((step.row["run"], step.row["seq"]), step.row["event_ns"], [step.words]) for step in case.refusals]
    for (run, seq), ts_ns, lines in sorted(told, key=lambda each: each[0]):
        start = f"{moment(ts_ns, day)}  {run}:{seq}  "
        paper.say("", *wrapped_after(start, len(start), plain(lines[0]), paper))
        for text in lines[1:]:
            paper.say(*wrapped_after("  ", 2, plain(text), paper))


def _verdict(decision: Row) -> list[str]:
    seen = ", ".join(f"{name} {value}" for name, value in risk_words.state(decision))
    told = [risk_words.numbers(decision), f"seen: {seen}" if seen else ""]
    return [f"risk: {risk_words.title(decision)}", *filter(None, told)]


def _tell_below(case: Case, standing: Standing, options: argparse.Namespace, paper: Paper) -> None:
    order = case.order
    verdicts = counted(len(case.decisions), "verdict")
    where = f"--explain {order['instrument_id']} --strategy {order['strategy_id']}"
    paper.say("")
    paper.note(f"{standing.book_id}, run {standing.run}: {verdicts}; {standing.text}")
    paper.note(f"the limits and where each comes from: python -m nautilus_ext check {options.config} {where}")
