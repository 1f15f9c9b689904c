"""`doctor`: what a config leaves unguarded. Exit 0 when nothing in it is dangerous, 1 when something is."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import msgspec

from nautilus_ext.app.doctor_rules import Danger, Expiry, File, Inert, Market, Unset, Venue, dangers, inert, unset
from nautilus_ext.app.paper import Paper
from nautilus_ext.app.text_tables import STYLES, plain, styled, wrapped
from nautilus_ext.app.traded import Trader, accounts_of, listing_of, traders_of
from nautilus_ext.risk.limits import Rulebook, moment_ns

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from nautilus_ext.app.command import Command
    from nautilus_ext.config import Config

EXIT_OK = 0
EXIT_DANGER = 1
GAPS_SHOWN = 4
_INDENT = "      "


def doctor(command: Command, options: argparse.Namespace) -> int:
    """Load the file as a run would, and say what a run would not."""
    config = command.load(options.config, backtest=options.backtest)
    paper = Paper(command.mask)
    file = file_of(config, time.time_ns())
    found = inert(file), unset(file), dangers(file)
    if options.json:
        names = ("inert", "unset", "dangers")
        report = {name: msgspec.to_builtins(each) for name, each in zip(names, found, strict=True)}
        paper.say(json.dumps({"source": str(config.source), "world": config.world, **report}, indent=2))
    else:
        _say(config, found, paper)
    return EXIT_DANGER if found[2] else EXIT_OK


def file_of(config: Config, now_ns: int) -> File:
    """The config as the rules see it."""
    suite, risk = config.suite, config.suite.risk
    book = Rulebook(risk)
    return File(
        world=config.world,
        preset=book.preset,
        base_currency=book.base_currency,
        needs_limits=book.needs_limits,
        now_ns=now_ns,
        is_gated=risk.enabled,
        trusts_reduce_only=risk.trusts_reduce_only,
        converted=frozenset(risk.conversions),
        venues=tuple(
            Venue(path=each.path, venue=each.venue, kind=each.kind, ignores_reduce_only=each.ignores_reduce_only)
            for each in accounts_of(config)
        ),
        markets=tuple(market for trader in traders_of(config) for market in _markets(trader, book)),
        overrides=tuple(
            Expiry(path=f"risk.overrides[{index}]", code=each.code, until=each.until, until_ns=moment_ns(each.until))
            for index, each in enumerate(risk.overrides)
        ),
        risk_engine=config.tree.get("risk_engine") or {},
        exec_engine=config.tree.get("exec_engine") or {},
        is_mirrored=suite.persistence.enabled,
        flush=suite.persistence.flush,
        on_unshipped=suite.persistence.on_unshipped,
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
                limited=frozenset(each.key for each in limits if each.ramp is None and each.value is not False),
                is_claimed=trader.claims is None or instrument_id in trader.claims,
            )
        )
    return found


def _say(config: Config, found: tuple[list[Inert], list[Unset], list[Danger]], paper: Paper) -> None:
    asleep, missing, dangerous = found
    paper.say(f"{config.source}: {config.trader_id}, {config.world}, preset {Rulebook(config.suite.risk).preset}")
    _title(paper, "Checks of Nautilus's own that do nothing here, and what stands in for them", asleep)
    for each in asleep:
        _item(paper, each.path, each.what, "alert" if each.gaps else "good")
        rows = ", ".join(map(str, each.rows))
        _lines(
            paper, f"covered by {', '.join(each.limits)} (row {rows})" if not each.gaps else f"row {rows}, not covered:"
        )
        for gap in [*each.gaps[:GAPS_SHOWN]]:
            _lines(paper, f"  {gap}")
        if len(each.gaps) > GAPS_SHOWN:
            _lines(paper, f"  and {len(each.gaps) - GAPS_SHOWN} more")
    _title(paper, "Limits that are not set", missing)
    for each in missing:
        _item(paper, each.path, f"{each.strategy_id} in {each.instrument_id}: {', '.join(each.limits)}", "alert")
        if each.is_refused:
            _lines(paper, "its orders are refused (risk.needs_limits) until a size and max_position are set")
    _title(paper, "Dangerous", dangerous)
    for each in dangerous:
        _item(paper, each.path, each.what, "bad")
        _lines(paper, f"cure: {each.cure}")
    count = (
        f"{len(dangerous)} thing{'s' if len(dangerous) != 1 else ''} dangerous" if dangerous else "nothing dangerous"
    )
    paper.say("", styled(count, "bad" if dangerous else "good", color=paper.color))


def _title(paper: Paper, text: str, found: Sequence[Any]) -> None:
    paper.say("", styled(text if found else f"{text}: none", "bold", color=paper.color))


def _item(paper: Paper, path: str, what: str, style: str) -> None:
    assert style in STYLES
    mark = styled("●", style, color=paper.color)
    paper.say(f"  {mark} {plain(path)}")
    _lines(paper, what)


def _lines(paper: Paper, text: str) -> None:
    width = max(paper.width - len(_INDENT), 20) if paper.width else None
    indent = _INDENT + " " * (len(text) - len(text.lstrip()))
    parts = wrapped(plain(text.strip()), width) if width else [plain(text.strip())]
    paper.say(*(f"{indent}{part}" for part in parts))
