"""Hands mutated configs to `check`, one after the other, in one process: python fuzz_child.py SEED FIRST END.

Each mutation is named on stdout before it is tried, so that an abort of the process has a name. It depends on seed and
number alone.
"""

from __future__ import annotations

import contextlib
import copy
import io
import json
import os
import random
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
BASES = ("paper.json", "live.json")
HUGE, DEEP = "@huge@", "@deep@"  # stand-ins: what Python itself could not write as JSON
MUTATIONS_MAX = 3
DEPTHS = (3, 30, 200, 330, 480, 900, 3_000, 100_000)
DIGITS = (20, 400, 4_299, 5_000)
NUMBERS = (0, -1, 1, 2**31, 2**63, 2**64, -(2**63) - 1, 10**30, 0.1, -0.0, 1e308, -1e308, 5e-324, 1e22)
SPECIALS = (None, True, False, [], {}, "", float("nan"), float("inf"), float("-inf"), HUGE, DEEP)
TEXTS = """
- . -- A- -A A.B A-B A-B- A-B.C A..B .A A. Ä-1 Ä.Ö 名-1 名.場 🚀.🚀 EXTERNAL None null true nan inf -1 1e9999 0x10 1_000
${ ${} ${A ${A:-} ${A:-${B}} $${A} ${HOME} ${ODD} ${ODD}-1 BTCUSDT BTCUSDT.SIM1 BTCUSDT.SIM1-1-MINUTE-MID-INTERNAL
BTCUSDT.SIM1-0-MINUTE-MID-INTERNAL BTCUSDT.SIM1-1-YEAR-MID-EXTERNAL BTCUSDT.SIM1-1-TICK-NONE-INTERNAL@1-MINUTE-EXTERNAL
ETHUSDT-PERP.SIM2-99999999999999999999-TICK-MID-INTERNAL -5-TICK-MID-INTERNAL ETHUSDT-PERP.SIM2--5-TICK-MID-INTERNAL
os:abort os:path : a: :b a:b:c nautilus_ext.strategies nautilus_ext.strategies: nautilus_ext..x:Y builtins:object
nautilus_ext.strategies:TrendFollower.__init__ nautilus_trader.trading.strategy:Strategy
nautilus_trader.common.actor:Actor ../../etc/passwd /dev/null 2026-01-05 2026-13-45T99:99:99Z 0000-00-00
9999-12-31T23:59:59.999999999Z postgresql:// postgresql://u:p@[::1 postgresql://h:99999/x embedded LIVE live sandbox
backtest INFO 10/00:00:01 -1/00:00:01 1/99:99:99 NETTING MARGIN CASH BID_ASK GTC
""".split()  # noqa: SIM905 - as a list it would be a page long
SPACED = ("", " ", "a b", "1 USDT", "1 usdt", "-1 USDT", "1e400 USDT", "1  USDT", "NaN USDT", "1 ÄÄÄ")
UNPRINTABLE = ("A\tB", "A\n", "\x00", "A\x00-1", "\u202e-1", "\u00a0", "\ufeffA-1", "\ud800", "\ud800-1", "A\ud800.B")
LONG = ("A" * 300, "A-" + "1" * 70_000, "99999999999999999999 BTC", "0.0000000000000000001 BTC")
NAMES = (*TEXTS, *SPACED, *UNPRINTABLE, *LONG)


def main(seed: int, first: int, end: int) -> None:
    sys.path.insert(0, str(ROOT))
    from nautilus_ext.cli import main as command

    stdout = sys.stdout
    os.environ |= _variables()
    pool = _pool()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["NAUTILUS_EXT_DATA"] = folder
        path = Path(folder, "config.json")
        for index in range(first, end):
            rnd = random.Random(f"{seed}:{index}")
            content, what = mutated(rnd, pool)
            path.write_bytes(content)
            os.environ["ODD"] = rnd.choice([name for name in NAMES if "\x00" not in name and name.isprintable()])
            options = ["--backtest"] if rnd.random() < 0.5 else []
            print(json.dumps({"index": index, "what": [*what, *options]}), file=stdout, flush=True)
            code, said = _check(command, [str(path), *options])
            print(json.dumps({"index": index, "code": code, "said": said[-4_000:]}), file=stdout, flush=True)


def _check(command: Any, arguments: list[str]) -> tuple[int, str]:
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors=how) for how in ("strict", "backslashreplace"))
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = command(["check", "--expand", *arguments])
    err.flush()
    return code, err.buffer.getvalue().decode()


def _variables() -> dict[str, str]:
    """Every variable of live.json is set: its values are then checked, too."""
    text = (ROOT / "node_configs" / "live.json").read_text()
    wanted = {part.partition("}")[0] for part in text.split("${")[1:]}
    return {name: "x" for name in wanted if ":-" not in name} | {"DATABASE_URL": "postgresql://u:p@127.0.0.1:1/d"}


def _pool() -> list[str]:
    """Every key that any section knows."""
    found: set[str] = set()

    def visit(value: Any) -> None:
        if isinstance(value, dict):
            found.update(value.get("properties") or {})
            for item in value.values():
                visit(item)
        elif isinstance(value, list):
            for item in value:
                visit(item)

    visit(json.loads((ROOT / "node_configs" / "schema.json").read_text()))
    return sorted(found)


def mutated(rnd: random.Random, pool: list[str]) -> tuple[bytes, list[str]]:
    base = rnd.choice(BASES)
    document = json.loads((ROOT / "node_configs" / base).read_text())
    what = [base, *(_mutate(document, rnd, pool) for _ in range(rnd.randint(1, MUTATIONS_MAX)))]
    text = json.dumps(document, indent=rnd.choice((None, 2)))
    text = text.replace(json.dumps(HUGE), "9" * rnd.choice(DIGITS))
    if json.dumps(DEEP) in text:
        depth, (opening, closing) = rnd.choice(DEPTHS), rnd.choice((("[", "]"), ('{"a":', "}")))
        text = text.replace(json.dumps(DEEP), opening * depth + "1" + closing * depth)
        what.append(f"{opening} {depth} deep")
    content = text.encode()
    if rnd.random() < 0.1:
        content, how = _broken(content, rnd)
        what.append(how)
    return content, what


def _mutate(document: dict[str, Any], rnd: random.Random, pool: list[str]) -> str:
    places = list(_places(document, ""))
    parent, key, at = rnd.choice(places)
    kind = rnd.choice(("odd", "odd", "odd", "near", "delete", "rename", "add", "add", "wrap", "move", "repeat"))
    if kind == "odd":
        parent[key] = _odd(rnd)
    elif kind == "near":
        parent[key] = _near(parent[key], rnd)
    elif kind == "delete":
        del parent[key]
    elif kind == "rename" and isinstance(parent, dict):
        parent[_near(key, rnd) if rnd.random() < 0.5 else rnd.choice(NAMES)] = parent.pop(key)
    elif kind == "add" and isinstance(parent, dict):
        at = rnd.choice((*pool, *pool, *NAMES))
        parent[at] = _odd(rnd) if rnd.random() < 0.7 else copy.deepcopy(rnd.choice(places)[0])
    elif kind == "wrap":
        parent[key] = rnd.choice(([parent[key]], {"config": parent[key]}, {"path": parent[key]}, str(parent[key])))
    elif kind == "move":
        source, other, _ = rnd.choice(places)
        parent[key] = copy.deepcopy(source[other])
    elif isinstance(parent, list):
        parent.append(copy.deepcopy(parent[key]))
    shown = (
        json.dumps(parent[key])[:60] if (key in parent if isinstance(parent, dict) else key < len(parent)) else "gone"
    )
    return f"{kind} {at}: {shown}"


def _places(value: Any, at: str):
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield value, key, f"{at}.{key}" if at else str(key)
        yield from _places(item, f"{at}.{key}" if at else str(key))


def _odd(rnd: random.Random) -> Any:
    odd = copy.deepcopy(rnd.choice(rnd.choice((SPECIALS, NUMBERS, NAMES, NAMES))))
    return rnd.choice((odd, odd, odd, [odd], {"config": odd}, {"a": odd}, {rnd.choice(NAMES): odd}, [[odd], {}]))


def _near(value: Any, rnd: random.Random) -> Any:
    """Almost what stood there."""
    if isinstance(value, bool) or value is None:
        return str(value)
    if isinstance(value, int | float):
        return rnd.choice((-value, value * 10**9, value + 0.5, str(value), value * 1e300))
    if isinstance(value, str) and value:
        place, extra = rnd.randrange(len(value)), rnd.choice(("", " ", "-", ".", "é", "\ud83d", "\x00", "0", "A", ":"))
        return rnd.choice(
            (value[:place] + extra + value[place + 1 :], value[:place] + extra + value[place:], value.swapcase())
        )
    return value


def _broken(content: bytes, rnd: random.Random) -> tuple[bytes, str]:
    place = rnd.randrange(len(content))
    how = rnd.choice(("cut", "byte", "bom", "twice", "empty", "utf-16"))
    pieces = {
        "cut": content[:place],
        "byte": content[:place] + bytes([rnd.randrange(256)]) + content[place + 1 :],
        "bom": b"\xef\xbb\xbf" + content,
        "twice": content + content,
        "empty": b"",
        "utf-16": content.decode().encode("utf-16"),
    }
    return pieces[how], f"{how} at {place}"


if __name__ == "__main__":
    main(*(int(argument) for argument in sys.argv[1:4]))
