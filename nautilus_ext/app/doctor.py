"""`doctor`: what a config leaves unguarded. Exit 0 when nothing in it is dangerous, 1 when something is."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import msgspec

from nautilus_ext.app.doctor_rules import (
    GATE_OFF,
    Danger,
    Expiry,
    File,
    Inert,
    Market,
    Place,
    Unset,
    dangers,
    inert,
    unset,
    unwatched,
)
from nautilus_ext.app.paper import WIDTH_MIN, Paper
from nautilus_ext.app.text_tables import plain, styled, wrapped
from nautilus_ext.app.traded import Trader, accounts_of, listing_of, traders_of
from nautilus_ext.risk.limits import Rulebook, expression, moment_ns

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Sequence

    from nautilus_ext.app.command import Command
    from nautilus_ext.config import Config

EXIT_OK = 0
EXIT_DANGER = 1
OFF = (False, "off")
_INDENT = "      "


def doctor(command: Command, options: argparse.Namespace) -> int:
    """Load the file as a run would, and say what a run would not."""
    config = command.load(options.config, backtest=options.backtest)
    paper = Paper(command.mask)
    file = file_of(config, time.time_ns())
    found = inert(file), unset(file), unwatched(file), dangers(file)
    if options.json:
        names = ("inert", "unset", "unwatched", "dangers")
        report = {name: msgspec.to_builtins(each) for name, each in zip(names, found, strict=True)}
        report |= {"source": str(config.source), "world": config.world, "silent_strategies": list(file.silent)}
        paper.say(json.dumps(report, indent=2))
    else:
        paper.say(f"{config.source}: {config.trader_id}, {config.world}, preset {file.preset}")
        _say(file, found, paper)
    return EXIT_DANGER if found[-1] else EXIT_OK


def file_of(config: Config, now_ns: int) -> File:
    """The config as the rules see it."""
    suite, risk = config.suite, config.suite.risk
    book, traders = Rulebook(risk), traders_of(config)
    return File(
        world=config.world,
        preset=book.preset,
        base_currency=book.base_currency,
        needs_limits=book.needs_limits,
        now_ns=now_ns,
        is_gated=risk.enabled,
        trusts_reduce_only=risk.trusts_reduce_only,
        converted=frozenset(risk.conversions),
        venues=tuple(accounts_of(config)),
        markets=tuple(market for trader in traders for market in _markets(trader, book)),
        silent=tuple(trader.strategy_id for trader in traders if not trader.instruments),
        overrides=tuple(
            Expiry(path=f"risk.overrides[{index}]", code=each.code, until=each.until, until_ns=moment_ns(each.until))
            for index, each in enumerate(risk.overrides)
        ),
        scopes=tuple(_places(config)),
        risk_engine=config.tree.get("risk_engine") or {},
        exec_engine=config.tree.get("exec_engine") or {},
        is_mirrored=suite.persistence.enabled,
        flush=suite.persistence.flush,
        on_unshipped=suite.persistence.on_unshipped,
        stops_itself=risk.enabled and any(each.action != "alert" for each in risk.breakers),
        calls_somebody=suite.alerts.webhook is not None,
    )


def _markets(trader: Trader, book: Rulebook) -> list[Market]:
    found = []
    for instrument_id in trader.instruments:
        listing, _ = listing_of(instrument_id)
        limits = book.effective(listing, trader.strategy_id, "")
        found.append(
            Market(
                path=trader.path,
                strategy_id=trader.strategy_id,
                instrument_id=instrument_id,
                venue=listing.venue,
                quote=listing.quote,
                # a ramp ends, and what is switched off limits nothing
                limited=frozenset(each.key for each in limits if each.ramp is None and each.value not in OFF),
                is_claimed=trader.claims is None or instrument_id in trader.claims,
            )
        )
    return found


def _places(config: Config) -> Iterator[Place]:
    """Each scope that the section names. What the file does not tell of is taken to be there."""
    risk, traders = config.suite.risk, traders_of(config)
    venues = [each.venue for each in accounts_of(config)]
    listings = [listing_of(each, venues)[0] for trader in traders for each in trader.instruments]
    is_told = bool(traders) and all(trader.instruments for trader in traders)
    names = {
        "strategy": {trader.strategy_id for trader in traders},
        "venue": {*venues, *(each.venue for each in listings)},
    }
    if is_told:
        names["instrument"] = {name for each in listings for name in (each.instrument_id, each.canonical_id)}
    if is_told and all(each.asset for each in listings):
        names["asset"] = {each.asset for each in listings}
    scopes = {f"risk.limits.{scope}": scope for scope in risk.limits}
    scopes |= {f"risk.max_position_per_instrument.{name}": f"instrument={name}" for name in _short_names(config)}
    scopes |= {f"risk.overrides[{index}].scope": each.scope for index, each in enumerate(risk.overrides)}
    scopes |= {f"risk.breakers[{index}].scope": each.scope for index, each in enumerate(risk.breakers)}
    scopes |= {f"risk.cancel_on_disconnect[{at}]": f"venue={name}" for at, name in enumerate(risk.cancel_on_disconnect)}
    for path, scope in scopes.items():
        kind, _, member = scope.partition("=")
        pattern = expression(member)
        is_met = kind not in names or any(pattern.fullmatch(name) for name in names[kind])
        yield Place(path=path, scope=scope, is_met=is_met)


def _short_names(config: Config) -> Iterator[str]:
    yield from config.suite.risk.max_position_per_instrument


def _say(file: File, found: tuple[list[Inert], list[Unset], list[Danger], list[Danger]], paper: Paper) -> None:
    asleep, missing, unseen, dangerous = found
    _say_inert(paper, asleep)
    _title(paper, "Limits that are not set", [*missing, *file.silent])
    for strategy_id in file.silent:
        _item(paper, strategy_id, "alert")
        _lines(paper, "its config names no instrument: ask check --explain for each that it trades")
    for each in missing:
        _item(paper, f"{each.strategy_id} in {each.instrument_id}", "alert")
        _lines(paper, ", ".join(each.limits))
        if each.is_refused:
            _lines(paper, "its orders are refused (risk.needs_limits) until a size and max_position are set")
    _say_each(paper, "What nobody stops or hears of", unseen, "alert")
    _say_each(paper, "Dangerous", dangerous, "bad")
    things = f"{len(dangerous)} thing{'s' if len(dangerous) != 1 else ''}" if dangerous else "nothing"
    paper.say("", styled(f"{things} dangerous", "bad" if dangerous else "good", color=paper.color))


def _say_each(paper: Paper, title: str, found: Sequence[Danger], style: str) -> None:
    _title(paper, title, found)
    for each in found:
        _item(paper, each.path, style)
        _lines(paper, each.what)
        _lines(paper, f"cure: {each.cure}")


def _say_inert(paper: Paper, found: Sequence[Inert]) -> None:
    """Place by place; accounts of which the same is to be said stand together."""
    _title(paper, "What Nautilus's own risk engine does not check here, and what does it instead", found)
    alike: dict[tuple[str, str], list[Inert]] = {}
    for each in found:
        alike.setdefault((each.what, each.instead), []).append(each)
    said = ""
    for same in alike.values():
        gaps = list(dict.fromkeys(gap for each in same for gap in each.gaps))
        where = ", ".join(each.path for each in same)
        if where != said:
            _item(paper, where, "")
            said = where
        _lines(paper, same[0].what)
        _lines(paper, f"  instead: {same[0].instead}")
        for gap in dict.fromkeys(gap.partition(":")[0] for gap in gaps):
            _lines(paper, f"    {gap}" if (gap,) == GATE_OFF else f"    not set everywhere: {gap}", "alert")


def _title(paper: Paper, text: str, found: Sequence[Any]) -> None:
    title = text if found else f"{text}: none"
    paper.say("", *(styled(each, "bold", color=paper.color) for each in _wrapped(title, paper.width)))


def _item(paper: Paper, text: str, style: str) -> None:
    mark = styled("●", style, color=paper.color) if style else "·"
    first, *others = _wrapped(plain(text), paper.width and paper.width - 4)
    paper.say(f"  {mark} {first}", *(f"    {each}" for each in others))


def _lines(paper: Paper, text: str, style: str = "") -> None:
    indent = _INDENT + " " * (len(text) - len(text.lstrip()))
    parts = _wrapped(plain(text.strip()), paper.width and paper.width - len(indent))
    paper.say(*(indent + styled(part, style, color=paper.color) for part in parts))


def _wrapped(text: str, width: int | None) -> list[str]:
    return wrapped(text, max(width, WIDTH_MIN)) if width else [text]
