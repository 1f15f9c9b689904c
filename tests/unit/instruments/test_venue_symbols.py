"""The rules of venues: what a symbol means without the instrument, and the symbol of an id."""

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nautilus_ext.errors import ConfigError
from nautilus_ext.instruments import parse
from nautilus_ext.instruments.symbols import deribit_symbol, from_nautilus, to_nautilus

BESIDE = Path(__file__).resolve().parents[4] / "shared" / "vectors" / "deribit"  # beside the project, not in it
VECTORS = Path(os.environ.get("DERIBIT_VECTORS") or BESIDE)  # the folder of Deribit's published messages
BOTH_WAYS = {
    "BTCUSDT.BINANCE": "BINANCE-SPOT:SPOT_PAIR:BTC-USDT",
    "ETHBTC.BINANCE": "BINANCE-SPOT:SPOT_PAIR:ETH-BTC",
    "BTCUSDT-PERP.BINANCE": "BINANCE-FUTURES:PERPETUAL:BTC-USDT",
    "BTCUSDC-PERP.BINANCE": "BINANCE-FUTURES:PERPETUAL:BTC-USDC",
    "1000PEPEUSDT-PERP.BINANCE": "BINANCE-FUTURES:PERPETUAL:1000PEPE-USDT",
    "BTCUSD-PERP.BINANCE": "BINANCE-FUTURES:PERPETUAL:BTC-USD@INV",
    "BNBUSD-PERP.BINANCE": "BINANCE-FUTURES:PERPETUAL:BNB-USD@INV",
    "BTCUSDT_241227.BINANCE": "BINANCE-FUTURES:FUTURE:BTC-USDT-20241227",
    "BTCUSD_241227.BINANCE": "BINANCE-FUTURES:FUTURE:BTC-USD-20241227@INV",
    "BTCUSDT-SPOT.BYBIT": "BYBIT:SPOT_PAIR:BTC-USDT",
    "BTCUSDT-LINEAR.BYBIT": "BYBIT:PERPETUAL:BTC-USDT",
    "BTCPERP-LINEAR.BYBIT": "BYBIT:PERPETUAL:BTC-USDC",
    "BTCUSD-INVERSE.BYBIT": "BYBIT:PERPETUAL:BTC-USD@INV",
    "BTC-06DEC24-LINEAR.BYBIT": "BYBIT:FUTURE:BTC-USDC-20241206",
    "BTCUSDT-27DEC24-LINEAR.BYBIT": "BYBIT:FUTURE:BTC-USDT-20241227",
    "BTC-6DEC24-80000-C-USDT-OPTION.BYBIT": "BYBIT:OPTION:BTC-USDT-80000-20241206-C",
    "BTC-USDT.OKX": "OKX:SPOT_PAIR:BTC-USDT",
    "BTC-USDT-SWAP.OKX": "OKX:PERPETUAL:BTC-USDT",
    "BTC-USD-SWAP.OKX": "OKX:PERPETUAL:BTC-USD@INV",
    "BTC-USDT-241227.OKX": "OKX:FUTURE:BTC-USDT-20241227",
    "BTC-USD-241227.OKX": "OKX:FUTURE:BTC-USD-20241227@INV",
    "BTC-USD-241227-50000-C.OKX": "OKX:OPTION:BTC-USD-50000-20241227-C",
    "BTC-PERPETUAL.DERIBIT": "DERIBIT:PERPETUAL:BTC-USD@INV",
    "BTC_USDC-PERPETUAL.DERIBIT": "DERIBIT:PERPETUAL:BTC-USDC",
    "BTC-27DEC24.DERIBIT": "DERIBIT:FUTURE:BTC-USD-20241227@INV",
    "BTC_USDC-8NOV24.DERIBIT": "DERIBIT:FUTURE:BTC-USDC-20241108",
    "BTC-31DEC24-50000-C.DERIBIT": "DERIBIT:OPTION:BTC-USD-50000-20241231-C",
    "XRP_USDC-30JUN23-0d625-P.DERIBIT": "DERIBIT:OPTION:XRP-USDC-0.625-20230630-P",
    "BTC_USDC.DERIBIT": "DERIBIT:SPOT_PAIR:BTC-USDC",
    "BTC-FS-2SEP22_PERP.DERIBIT": "DERIBIT:FUTURE_COMBO:BTC-FS-2SEP22_PERP",
    "BTC-CS-8NOV24-70000_72000.DERIBIT": "DERIBIT:OPTION_COMBO:BTC-CS-8NOV24-70000_72000",
    "EUR/USD.IDEALPRO": "IDEALPRO:SPOT_PAIR:EUR-USD",
    "BTC/USD.PAXOS": "PAXOS:SPOT_PAIR:BTC-USD",
    "ETHUSDT.SIM1": "SIM1:SPOT_PAIR:ETH-USDT",
    "BTCUSD-PERP.SIM3": "SIM3:PERPETUAL:BTC-USD@INV",
}
SYMBOL_INSIDE = {
    "XNAS:EQUITY:AAPL-USD": "AAPL.XNAS",
    "CBOE:INDEX:%5ESPX-USD": "^SPX.CBOE",
    "INDEX:GLBX:FUTURE_COMBO:ESM4-ESU4": "ESM4-ESU4.GLBX",
    "FX:GLBX:OPTION_COMBO:UD%3AU$%3A%20GN%2025": "UD:U$: GN 25.GLBX",
    "INDEX:GLBX:FUTURE:~ES.c.0-USD-20241220": "ES.c.0.GLBX",
    "FX:OANDA:CFD:~AUDUSDm-USD": "AUDUSDm.OANDA",
    "UniswapV3:POOL:WETH-USDC-0xC31E@Arbitrum": "0xC31E.Arbitrum:UniswapV3",
    "BETFAIR:BETTING:1-123-50214-None": "1-123-50214-None.BETFAIR",
}


def halves(name):
    symbol, _, venue = name.rpartition(".")
    return symbol, venue


@pytest.mark.parametrize(("name", "text"), BOTH_WAYS.items(), ids=BOTH_WAYS)
def test_a_rule_works_both_ways(name, text):
    """The symbol gives the id, and the id gives the symbol."""
    assert text == str(from_nautilus(*halves(name)))
    assert name == str(to_nautilus(parse(text)))


@pytest.mark.parametrize(("text", "name"), SYMBOL_INSIDE.items(), ids=SYMBOL_INSIDE)
def test_an_id_that_holds_the_symbol_needs_no_rule(text, name):
    """Where the payload is the symbol, any venue's id leads to the engine's."""
    assert halves(name) == to_nautilus(parse(text))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("BTCUSDT.BINANCE_SPOT", "BINANCE-SPOT:SPOT_PAIR:BTC-USDT"),
        ("BTCUSDT-PERP.BINANCE_FUTURES", "BINANCE-FUTURES:PERPETUAL:BTC-USDT"),
    ],
)
def test_the_names_of_our_clients_are_binance_too(name, text):
    """The suite's configs name two clients for the two markets of Binance."""
    assert text == str(from_nautilus(*halves(name)))


@pytest.mark.parametrize(
    "name",
    [
        "BTCBUSD-PERP.BINANCE",  # BTC against BUSD, or BTCB against USD
        "BTCUSDT.BINANCE_FUTURES",
        "BTCUSDT-PERP.BINANCE_SPOT",
        "USDT.BINANCE",
        "PERP-LINEAR.BYBIT",
        "BTCUSDZ24-INVERSE.BYBIT",
        "BTC-31FEB24.DERIBIT",
        "BTC-1XYZ24.DERIBIT",
        "BTC_USD-PERPETUAL.DERIBIT",
        "BTC.DERIBIT",
        "BTC-٣NOV24.DERIBIT",
        "AAPL.XNAS",
        "ESZ4.CME",
        "BTCUSDT.KRAKEN",
    ],
)
def test_a_symbol_that_does_not_tell_is_refused(name):
    """Better no answer than a wrong one: the instrument itself knows."""
    with pytest.raises(ConfigError, match=r"load the instrument|is no YYYYMMDD"):
        from_nautilus(*halves(name))


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("BINANCE-FUTURES:PERPETUAL:BN-BUSD", "BNBUSD-PERP means BINANCE-FUTURES:PERPETUAL:BNB-USD@INV"),
        ("DERIBIT:PERPETUAL:BTC-USD", "BTC-PERPETUAL means DERIBIT:PERPETUAL:BTC-USD@INV"),
        ("DERIBIT:PERPETUAL:BTC-USDC@INV", "BTC_USDC-PERPETUAL means DERIBIT:PERPETUAL:BTC-USDC"),
        ("EQUITY:OKX:PERPETUAL:NVDA-USDT", "NVDA-USDT-SWAP means OKX:PERPETUAL:NVDA-USDT"),
        ("DERIBIT:TOKEN:USDC", "does not follow from it: load the instrument"),
        ("KRAKEN:SPOT_PAIR:BTC-USD", "does not follow from it: load the instrument"),
        ("XNAS:EQUITY:%20-USD", "no plain text"),
    ],
)
def test_an_id_without_a_symbol_is_refused(text, hint):
    """A symbol that would trade something else is never given out."""
    with pytest.raises(ConfigError) as caught:
        to_nautilus(parse(text))
    assert hint in str(caught.value)


def test_deribit_is_asked_for_deribit_only():
    """The converter to Deribit's names refuses other venues' ids."""
    assert "BTC-31DEC24-50000-C" == deribit_symbol(parse("DERIBIT:OPTION:BTC-USD-50000-20241231-C"))
    with pytest.raises(ConfigError, match="'OKX' is not DERIBIT"):
        deribit_symbol(parse("OKX:PERPETUAL:BTC-USDT"))


coins = st.from_regex(r"[A-Z0-9]{1,6}", fullmatch=True) | st.sampled_from(
    ["BTC", "BTCB", "1000PEPE", "BN", "T", "PERP"]
)
quotes = st.sampled_from(["USDT", "USDC", "USD", "BUSD", "FDUSD", "TUSD", "BTC", "EUR"])
days = st.dates().map(lambda day: f"{day.year:04d}{day.month:02d}{day.day:02d}")
rests = st.one_of(
    st.just(("SPOT_PAIR", "")),
    st.just(("PERPETUAL", "")),
    days.map(lambda day: ("FUTURE", f"-{day}")),
    st.tuples(st.sampled_from(["0.625", "5", "50000"]), days, st.sampled_from("CP")).map(
        lambda rest: ("OPTION", "-" + "-".join(rest))
    ),
)
venues = st.sampled_from(["BINANCE-SPOT", "BINANCE-FUTURES", "BYBIT", "OKX", "DERIBIT", "IDEALPRO", "SIM1"])


@given(venues, coins, quotes, rests, st.sampled_from(["", "@INV"]))
def test_a_symbol_always_means_the_id_it_was_made_from(venue, base, quote, rest, chain):
    """Over look-alike coins and quotes, every type and century: the same thing or an error, never another thing."""
    canonical = parse(f"{venue}:{rest[0]}:{base}-{quote}{rest[1]}{chain}")
    try:
        name = to_nautilus(canonical)
    except ConfigError:
        return
    assert canonical == from_nautilus(*name)


@given(venues | st.just("BINANCE"), st.text(st.characters(max_codepoint=0x7F), max_size=30))
def test_any_symbol_is_read_or_refused(venue, symbol):
    """A venue may list what it likes: only ConfigError leaves the rules."""
    try:
        from_nautilus(symbol, venue)
    except ConfigError:
        return


@pytest.mark.skipif(not VECTORS.is_dir(), reason="set DERIBIT_VECTORS to the folder of Deribit's published messages")
def test_every_name_that_deribit_publishes_round_trips():
    """The names in the venue's own examples are all understood and written as they came."""
    found = {name for path in VECTORS.rglob("*.json") for name in named(json.loads(path.read_text()))}
    assert 50 < len(found)
    assert sorted(found) == sorted(deribit_symbol(from_nautilus(name, "DERIBIT")) for name in found)


def named(value):
    """Every instrument_name or combo_id in a message."""
    if isinstance(value, list):
        for item in value:
            yield from named(item)
    elif isinstance(value, dict):
        for key, item in value.items():
            if key in {"instrument_name", "combo_id"} and isinstance(item, str):
                yield item
            else:
                yield from named(item)
