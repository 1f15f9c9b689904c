"""The text form: what it takes, what it gives back, and how it refuses."""

import subprocess
import sys

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from nautilus_ext.errors import ConfigError
from nautilus_ext.instruments import CanonicalId, parse
from nautilus_ext.instruments.canonical import ASSET_CLASSES, FORMS, encode_part, encode_symbol, strike_part
from nautilus_ext.instruments.symbols import deribit_symbol, to_nautilus

words = st.text(min_size=1, max_size=3)  # each sign may become twelve
days = st.dates().map(lambda day: f"{day.year:04d}{day.month:02d}{day.day:02d}")
strikes = st.decimals(-(10**6), 10**9, allow_nan=False, allow_infinity=False, places=4).map(strike_part)
MARKED = {"FUTURE", "OPTION", "CFD"}  # a base may be a whole symbol
PARTS = {"STRIKE": strikes, "YYYYMMDD": days, "C|P": st.sampled_from("CP")}


def payloads(kind):
    names = FORMS[kind].parts
    if not names:
        return words.map(encode_symbol)
    plain = st.tuples(*(PARTS.get(name, words.map(encode_part)) for name in names)).map("-".join)
    return st.one_of(plain, plain.map("~{}".format)) if kind in MARKED else plain


canonical_ids = st.sampled_from(sorted(FORMS)).flatmap(
    lambda kind: st.builds(
        CanonicalId,
        venue=words.map(encode_symbol),
        type=st.just(kind),
        payload=payloads(kind),
        asset_class=st.none() | st.sampled_from(ASSET_CLASSES),
        chain=st.none() | words.map(encode_symbol),
    )
)


@given(canonical_ids)
def test_what_is_printed_is_read_back(canonical):
    """Every id of every type survives its text, whatever signs its names hold."""
    assert canonical == parse(str(canonical))


PIECES = st.sampled_from(
    [":", "@", "-", "~", "%", "%2D", *FORMS, *ASSET_CLASSES, "BTC", "20241231", "C", "0.5", "VENUE"]
)


@given(st.text() | st.lists(PIECES, max_size=14).map("".join))
@example("A:B:C:D:E")
@example("V:OPTION:A-B-٣-20241231-C")
@example("V:SPOT_PAIR:%-%")
@example("V:TOKEN:\ud800")
def test_random_text_is_read_or_refused_with_the_one_error(text):
    """Nothing but ConfigError leaves parse and the rules, and what was read prints as it came."""
    try:
        canonical = parse(text)
    except ConfigError:
        return
    assert text == str(canonical)
    for rule in (to_nautilus, deribit_symbol):
        try:
            rule(canonical)
        except ConfigError:
            continue


@pytest.mark.parametrize("kind", FORMS)
def test_the_example_of_each_type_is_one(kind):
    """The forms that messages and the guide show are read, as the type they stand for."""
    assert kind == parse(FORMS[kind].example).type


@pytest.mark.parametrize(
    ("text", "asset_key", "base", "quote"),
    [
        ("BINANCE-SPOT:SPOT_PAIR:BTC-USDT", "SPOT_PAIR:BTC-USDT", "BTC", "USDT"),
        ("CRYPTO:BINANCE-SPOT:SPOT_PAIR:BTC-USDT", "SPOT_PAIR:BTC-USDT", "BTC", "USDT"),
        ("BINANCE-FUTURES:PERPETUAL:BTC-USDT", "PERPETUAL:BTC-USDT", "BTC", "USDT"),
        ("DERIBIT:PERPETUAL:BTC-USD@INV", "PERPETUAL:BTC-USD@INV", "BTC", "USD"),
        ("DERIBIT:OPTION:BTC-USD-50000-20241231-C", "OPTION:BTC-USD-50000-20241231-C", "BTC", "USD"),
        ("FX:OANDA:CFD:AUD-USD", "FX:CFD:AUD-USD", "AUD", "USD"),
        ("IDEALPRO:SPOT_PAIR:EUR-USD", "SPOT_PAIR:EUR-USD", "EUR", "USD"),
        ("INDEX:GLBX:FUTURE:~ES.c.0-USD-20241220", "INDEX:FUTURE:~ES.c.0-USD-20241220", "ES.c.0", "USD"),
        ("XNAS:EQUITY:BRK%2DB-USD", "EQUITY:BRK%2DB-USD", "BRK-B", "USD"),
        ("AAVE_V3:TOKEN:USDC@ETHEREUM", "TOKEN:USDC@ETHEREUM", "USDC", None),
        ("BETFAIR:BETTING:1-123-50214-None", "BETTING:1-123-50214-None", None, None),
    ],
)
def test_asset_key_base_and_quote(text, asset_key, base, quote):
    """The key leaves out the venue and what goes without saying; base and quote come decoded."""
    canonical = parse(text)
    assert (asset_key, base, quote) == (canonical.asset_key, canonical.base, canonical.quote)


@pytest.mark.parametrize(
    ("text", "place", "hint"),
    [
        ("", "form", "[ASSET_CLASS:]VENUE:TYPE:PAYLOAD[@CHAIN]"),
        ("BTC-USDT", "form", "1 parts between colons"),
        ("A:B:C:D:E", "form", "5 parts between colons"),
        ("STOCKS:XNAS:EQUITY:AAPL-USD", "ASSET_CLASS", "'STOCKS' is none of CRYPTO"),
        (":SPOT_PAIR:BTC-USDT", "VENUE", "like BINANCE-SPOT"),
        ("BINANCE-FUTURES:PERP:BTC-USDT", "TYPE", "'PERP' is none of SPOT_PAIR, PERPETUAL"),
        ("BINANCE-SPOT:SPOT_PAIR:BTCUSDT", "PAYLOAD", "1 of the 2 parts of SPOT_PAIR: expected BASE-QUOTE"),
        ("BINANCE-SPOT:SPOT_PAIR:BTC-", "PAYLOAD", "'' is no QUOTE"),
        ("DERIBIT:OPTION:BTC-USD-50000-20240231-C", "PAYLOAD", "'20240231' is no YYYYMMDD"),
        ("DERIBIT:OPTION:BTC-USD-50000.0-20241231-C", "PAYLOAD", "'50000.0' is no STRIKE"),
        ("DERIBIT:OPTION:BTC-USD-50000-20241231-X", "PAYLOAD", "'X' is no C|P"),
        ("DERIBIT:PERPETUAL:BTC-USD@", "CHAIN", "after the @"),
        ("DERIBIT:PERPETUAL:BTC-USD@INV@X", "CHAIN", "'INV@X'"),
        ("XNAS:EQUITY:AA%50L-USD", "PAYLOAD", "'AA%50L' is no BASE"),
        ("BETFAIR:BETTING:" + "9" * 300, "form", "at most 255"),
    ],
)
def test_a_malformed_id_names_the_text_the_place_and_the_form(text, place, hint):
    """An operator's mistake is one ConfigError that shows what was typed, where it is wrong and what was expected."""
    with pytest.raises(ConfigError) as caught:
        parse(text)
    (problem,) = caught.value.problems
    assert place == problem.path
    assert hint in problem.message
    assert ascii(text)[:200] in str(caught.value)


def test_all_faults_are_listed_at_once():
    """Nobody corrects an id three times."""
    with pytest.raises(ConfigError) as caught:
        parse("STOCKS::PERP:X@")
    assert ["ASSET_CLASS", "VENUE", "TYPE"] == [problem.path for problem in caught.value.problems]


def test_the_package_loads_without_the_engine():
    """The shipper and the CLI read canonical ids in processes that never load Nautilus."""
    code = "import sys, nautilus_ext.instruments.symbols; print('nautilus_trader' in sys.modules)"
    assert "False" == subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip()
