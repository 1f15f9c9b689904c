"""From the engine's instruments to canonical ids and back: every class, and never one id for two instruments."""

from collections import Counter
from datetime import date, timedelta
from decimal import Decimal
from itertools import count, product

import instrument_makers as make
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nautilus_trader.model import instruments as kinds
from nautilus_trader.model.enums import AssetClass
from nautilus_trader.model.identifiers import InstrumentId
from nautilus_trader.test_kit.providers import TestInstrumentProvider

from nautilus_ext.errors import ConfigError
from nautilus_ext.instruments import parse
from nautilus_ext.instruments.nautilus import InstrumentIndex, canonical_of, describe, instrument_id_of
from nautilus_ext.simulation.instruments import to_instrument
from nautilus_ext.simulation.listings import default_listings

BETTING = TestInstrumentProvider.betting_instrument()
SYNTHETIC = TestInstrumentProvider.synthetic_instrument()
ALL = [
    (make.spot("BTCUSDT.BINANCE", "BTC", "USDT"), "BINANCE-SPOT:SPOT_PAIR:BTC-USDT"),
    (make.spot("BTCUSDT.BINANCE_SPOT", "BTC", "USDT"), "BINANCE-SPOT:SPOT_PAIR:BTC-USDT"),
    (make.spot("EUR/USD.IDEALPRO", "EUR", "USD"), "IDEALPRO:SPOT_PAIR:EUR-USD"),
    (make.spot("BTCUSD.MY-VENUE", "BTC", "USD"), "MY-VENUE:SPOT_PAIR:BTC-USD"),
    (make.spot("0xC31E.Arbitrum:UniswapV3", "WETH", "USDC"), "UniswapV3:POOL:WETH-USDC-0xC31E@Arbitrum"),
    (make.tokenized("AAPLx/USD.KRAKEN", "AAPLx", "USD"), "EQUITY:KRAKEN:TOKENIZED:AAPLx-USD"),
    (make.perpetual("BTCUSDT-PERP.BINANCE", "BTC", "USDT"), "BINANCE-FUTURES:PERPETUAL:BTC-USDT"),
    (make.perpetual("BTCUSDT-PERP.BINANCE_FUTURES", "BTC", "USDT"), "BINANCE-FUTURES:PERPETUAL:BTC-USDT"),
    (make.perpetual("BTC-PERPETUAL.DERIBIT", "BTC", "USD", "BTC"), "DERIBIT:PERPETUAL:BTC-USD@INV"),
    (make.perpetual("BTC_USDC-PERPETUAL.DERIBIT", "BTC", "USDC"), "DERIBIT:PERPETUAL:BTC-USDC"),
    (make.perpetual("BTC-USD-PERP.DYDX", "BTC", "USD", "USDC"), "DYDX:PERPETUAL:BTC-USD@SETTLED-USDC"),
    (make.any_perpetual("NVDA-PERP.AX", "NVDA", "USD", AssetClass.EQUITY), "EQUITY:AX:PERPETUAL:NVDA-USD"),
    (
        make.crypto_future("BTC-27DEC24.DERIBIT", "BTC", "USD", "20241227", "BTC"),
        "DERIBIT:FUTURE:BTC-USD-20241227@INV",
    ),
    (
        make.crypto_future("BTCUSDT_241227.BINANCE", "BTC", "USDT", "20241227"),
        "BINANCE-FUTURES:FUTURE:BTC-USDT-20241227",
    ),
    (
        make.crypto_option("BTC-31DEC24-50000-C.DERIBIT", "BTC", "BTC", "50000.0 20241231 C"),
        "DERIBIT:OPTION:BTC-USD-50000-20241231-C",
    ),
    (
        make.crypto_option("BTC-31DEC24-50000-C.DERIBIT", "BTC", "USD", "50000 20241231 C", "BTC"),
        "DERIBIT:OPTION:BTC-USD-50000-20241231-C",
    ),
    (
        make.crypto_option("XRP_USDC-31DEC24-0d625-P.DERIBIT", "XRP", "USDC", "0.6250 20241231 P"),
        "DERIBIT:OPTION:XRP-USDC-0.625-20241231-P",
    ),
    (
        make.crypto_option("BTC-31DEC24-50000-C-OPTION.BYBIT", "BTC", "USD", "50000 20241231 C", "USDC"),
        "BYBIT:OPTION:BTC-USD-50000-20241231-C@SETTLED-USDC",
    ),
    (
        make.crypto_combo(kinds.CryptoFuturesSpread, "BTC-FS-27DEC24_PERP.DERIBIT", "BTC", "USD", "20241227"),
        "DERIBIT:FUTURE_COMBO:BTC-FS-27DEC24_PERP",
    ),
    (
        make.crypto_combo(kinds.CryptoOptionSpread, "BTC-CS-27DEC24-70000_75000.DERIBIT", "BTC", "BTC", "20241227"),
        "DERIBIT:OPTION_COMBO:BTC-CS-27DEC24-70000_75000",
    ),
    (make.future("ESZ4.GLBX", "ES", "USD", "20241220"), "INDEX:GLBX:FUTURE:ES-USD-20241220"),
    (make.future("ES.c.0.GLBX", "ES", "USD", "20241220"), "INDEX:GLBX:FUTURE:~ES.c.0-USD-20241220"),
    (make.future("ESTX50 FESX 20240315.EUREX", "ESTX50", "EUR", "20240315"), "INDEX:EUREX:FUTURE:FESX-EUR-20240315"),
    (
        make.listed_combo(kinds.FuturesSpread, "ESM4-ESU4.GLBX", "ES", "USD", "20240621"),
        "INDEX:GLBX:FUTURE_COMBO:ESM4-ESU4",
    ),
    (
        make.listed_combo(kinds.OptionSpread, "UD:U$: GN 25.GLBX", "SR3", "USD", "20240621", asset_class=AssetClass.FX),
        "FX:GLBX:OPTION_COMBO:UD%3AU$%3A%20GN%2025",
    ),
    (
        make.listed_option("SPXW  241220C05000000.CBOE", "SPX", "USD", "5000.00 20241220 C", AssetClass.INDEX),
        "INDEX:CBOE:OPTION:SPXW-USD-5000-20241220-C",
    ),
    (
        make.listed_option("ESZ4 P4420.GLBX", "ES", "USD", "4420 20241220 P", AssetClass.INDEX),
        "INDEX:GLBX:OPTION:ES-USD-4420-20241220-P",
    ),
    (
        make.listed_option("SPREAD-1.GLBX", "CL", "USD", "-0.5 20241220 P", AssetClass.COMMODITY),
        "COMMODITY:GLBX:OPTION:~SPREAD%2D1-USD-%2D0.5-20241220-P",
    ),
    (make.equity("BRK-B.XNYS", "USD"), "XNYS:EQUITY:BRK%2DB-USD"),
    (make.index("^SPX.CBOE", "USD"), "CBOE:INDEX:%5ESPX-USD"),
    (make.goods(kinds.Commodity, "CL.NYMEX", "USD"), "NYMEX:COMMODITY:CL-USD"),
    (make.goods(kinds.Cfd, "AUD/USD.OANDA", "USD", "AUD", AssetClass.FX), "FX:OANDA:CFD:AUD-USD"),
    (make.goods(kinds.Cfd, "AUDUSDm.OANDA", "USD", "AUD", AssetClass.FX), "FX:OANDA:CFD:~AUDUSDm-USD"),
    (make.binary("0x12-92.POLYMARKET", "USDC"), "ALTERNATIVE:POLYMARKET:BINARY:0x12-92"),
    (BETTING, "BETFAIR:BETTING:1-123456789-50214-None"),
    (SYNTHETIC, "SYNTH:SYNTHETIC:BTC-ETH"),
]


@pytest.mark.parametrize(("instrument", "text"), ALL, ids=[f"{text}" for _, text in ALL])
def test_every_class_of_instrument_has_its_form(instrument, text):
    """The id is what the guide says, and it is well formed."""
    assert text == str(canonical_of(instrument))
    assert canonical_of(instrument) == parse(text)


def test_no_class_of_the_engine_is_forgotten():
    """A class that a new Nautilus brings must be given a form."""
    known = {type(instrument).__name__ for instrument, _ in ALL}
    classes = {name for name in kinds.__all__ if isinstance(getattr(kinds, name), type)}
    assert {"Instrument"} == classes - known


@pytest.mark.parametrize(("instrument", "text"), ALL, ids=[f"{text}" for _, text in ALL])
def test_an_index_finds_what_it_knows(instrument, text):
    """Each id leads back to the instrument it was made from, also when the class that goes without saying is typed."""
    index = InstrumentIndex([instrument])
    assert instrument.id == instrument_id_of(parse(text), index)
    if instrument.id.venue.value.startswith("BINANCE"):
        assert instrument.id == instrument_id_of(parse(f"CRYPTO:{text}"), index)


QUOTES = ("USDT", "USDC", "USD", "BUSD", "EUR", "H")
DAYS = [f"{date(2024, 12, 1) + timedelta(days=day):%Y%m%d}" for day in (0, 1, 9, 10, 30, 31, 365)]
STRIKES = ("0.05", "0.5", "5", "50", "500", "50000", "50000.5", "1.5", "15")
TERMS = [" ".join(terms) for terms in product(STRIKES, DAYS, "CP")]


def crypto_market():
    """List look-alike coins in every way that one venue could; the symbols tell nothing."""
    symbol = (f"S{number}.V" for number in count())
    for base, quote in product(("BTC", "BTCB", "PEPE", "1000PEPE", "1INCH", "1INC"), QUOTES):
        yield make.spot(next(symbol), base, quote)
        yield make.tokenized(next(symbol), base, quote)
        for settled in (base, quote, "ETH", "SOL"):
            yield make.perpetual(next(symbol), base, quote, settled)
            yield from (make.crypto_future(next(symbol), base, quote, day, settled) for day in DAYS)
        for settled, terms in product((base, quote, "ETH"), TERMS):
            yield make.crypto_option(next(symbol), base, quote, terms, settled)


def classic_market():
    """List roots that share an underlying, and names that look like each other's parts."""
    for root, asset_class in product(("ES", "MES", "SI", "SIL", "E"), (AssetClass.INDEX, AssetClass.COMMODITY)):
        for day, tail in zip(DAYS, ("Z4", "Z24", "H25", "F5", " 1", ".c.0", "#"), strict=True):
            yield make.future(f"{root}{tail}.V", "SAME", "USD", day, asset_class)
    yield make.future("~QZ4.V", "SAME", "USD", DAYS[0])
    yield make.future("Q.V", "SAME", "USD", DAYS[0])
    for root, terms in product(("SPX", "SPXW", "AAPL", "AAPL1"), TERMS):
        strike, day, kind = terms.split()
        osi = f"{root:6}{day[2:]}{kind}{int(Decimal(strike) * 1000):08d}"
        yield make.listed_option(f"{osi}.V", "SAME", "USD", terms)
        yield make.listed_option(f"{root}Z4 {kind}{strike}.V", "SAME", "USD", terms, AssetClass.INDEX)
    for name in ("A", "AUD", "AUDUSD", "A-USD", "A.USD", "A/USD", "A%", "A~", "~A", "A:B", "A@B", "A B"):
        yield make.equity(f"{name}.V", "USD")
        yield make.index(f"{name}.V", "USD")
        yield make.binary(f"{name}.V", "USDC")
        for asset_class in (AssetClass.FX, AssetClass.EQUITY):
            yield make.goods(kinds.Cfd, f"{name}.V", "USD", "AUD", asset_class)
            yield make.goods(kinds.Commodity, f"{name}.V", "USD", None, asset_class)


def test_two_instruments_of_a_venue_never_share_an_id():
    """Inverse and linear, dates, fractional strikes, roots on one underlying, look-alike coins: all stay apart."""
    listed = [*crypto_market(), *classic_market()]
    ids = [canonical_of(instrument) for instrument in listed]
    assert [] == [(key, times) for key, times in Counter(map(str, ids)).items() if times > 1]
    assert len(listed) == len({canonical.asset_key for canonical in ids})
    assert ids == [parse(str(canonical)) for canonical in ids]
    index = InstrumentIndex(listed)
    assert [instrument.id for instrument in listed] == [index.find(canonical) for canonical in ids]
    assert 10_000 < len(listed)


names = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=8)
codes = st.from_regex(r"[A-Z0-9]{1,6}", fullmatch=True)
MAKERS = {
    "spot": make.spot,
    "equity": lambda name, _base, quote: make.equity(name, quote),
    "index": lambda name, _base, quote: make.index(name, quote),
    "binary": lambda name, _base, quote: make.binary(name, quote),
    "cfd": lambda name, base, quote: make.goods(kinds.Cfd, name, quote, base),
    "perpetual": lambda name, base, quote: make.perpetual(name, base, quote, base),
    "future": lambda name, base, quote: make.future(name, base, quote, "20241227"),
    "option": lambda name, base, quote: make.listed_option(name, base, quote, "0.5 20241227 P"),
    "combo": lambda name, base, quote: make.listed_combo(kinds.OptionSpread, name, base, quote, "20241227"),
}


@given(st.sampled_from(sorted(MAKERS)), names, names.filter(lambda name: not {":", "."} & set(name)), codes, codes)
def test_any_name_makes_a_well_formed_id(maker, symbol, venue, base, quote):
    """Whatever signs a symbol, a venue or a currency holds, the id is read back and finds its instrument."""
    if base == quote:
        return
    instrument = MAKERS[maker](f"{symbol}.{venue}", base, quote)
    canonical = canonical_of(instrument)
    assert canonical == parse(str(canonical))
    assert instrument.id == InstrumentIndex([instrument]).find(parse(str(canonical)))


def test_two_names_of_one_instrument_are_told_apart_by_the_operator():
    """BTCUSDT of two clients of Binance is one canonical id: the index says so instead of choosing."""
    index = InstrumentIndex([instrument for instrument, text in ALL if text.startswith("BINANCE-SPOT")])
    with pytest.raises(ConfigError, match=r"it names BTCUSDT\.BINANCE and BTCUSDT\.BINANCE_SPOT"):
        index.find(parse("BINANCE-SPOT:SPOT_PAIR:BTC-USDT"))


def test_an_unknown_instrument_follows_from_the_rule_of_its_venue():
    """Before anything is loaded the venue's own way to name things must do."""
    found = instrument_id_of(parse("DERIBIT:OPTION:BTC-USD-50000-20241231-C"), InstrumentIndex([]))
    assert InstrumentId.from_str("BTC-31DEC24-50000-C.DERIBIT") == found


def test_the_simulated_venues_round_trip():
    """Each default listing is found by its id, and what the rule makes of the id is the same name."""
    listed = [to_instrument(listing) for listing in default_listings()]
    assert [instrument.id for instrument in listed] == [
        instrument_id_of(canonical_of(instrument), InstrumentIndex([])) for instrument in listed
    ]


@pytest.mark.parametrize("instrument", [instrument for instrument, _ in ALL], ids=[text for _, text in ALL])
def test_a_description_is_json_with_every_field(instrument):
    """The record that the log takes has the same fields for every class."""
    record = msgspec.json.decode(msgspec.json.encode(describe(instrument, [])))
    assert instrument.id.value == record["instrument_id"]
    assert type(instrument).__name__ == record["instrument_type"] == record["definition"]["type"]
    assert record["reason"] is None
    assert record["asset_key"] == parse(record["canonical_id"]).asset_key
    assert FIELDS == list(record)


FIELDS = [
    *("instrument_id", "canonical_id", "asset_key", "reason", "venue", "venue_type", "instrument_type", "base_asset"),
    *("quote_currency", "settlement_currency", "is_inverse", "multiplier", "price_precision", "size_precision"),
    "definition",
]


def test_a_description_says_what_positions_need():
    """Currencies, direction of the contract and who reaches the venue."""
    inverse = describe(make.perpetual("BTC-PERPETUAL.DERIBIT", "BTC", "USD", "BTC"), ["DERIBIT"])
    expected = {
        "canonical_id": "DERIBIT:PERPETUAL:BTC-USD@INV",
        "asset_key": "PERPETUAL:BTC-USD@INV",
        "venue": "DERIBIT",
        "venue_type": "EXTERNAL_SDK",
        "base_asset": "BTC",
        "quote_currency": "USD",
        "settlement_currency": "BTC",
        "is_inverse": True,
        "multiplier": "1",
    }
    assert expected == {key: inverse[key] for key in expected}
    linear = describe(make.spot("BTCUSDT.BINANCE", "BTC", "USDT"), ["DERIBIT"])
    assert ("BINANCE", "NAUTILUS", False) == (linear["venue"], linear["venue_type"], linear["is_inverse"])


def test_what_has_no_canonical_id_is_described_with_the_reason():
    """Nothing is lost: the record has nulls and says why."""
    endless = make.future("ES.GLBX", "ES", "USD", "19700101")
    dateless = kinds.FuturesContract.from_dict({**kinds.FuturesContract.to_dict(endless), "expiration_ns": 0})
    for instrument, reason in [
        (dateless, "has no expiration date"),
        (make.binary(f"{9:0300}.POLYMARKET", "USDC"), "at most 255"),
        (make.spot("BTCUSDT.Arbitrum:", "BTC", "USDT"), "VENUE"),
    ]:
        record = describe(instrument, [])
        assert (None, None) == (record["canonical_id"], record["asset_key"])
        assert reason in record["reason"]


def test_extra_information_that_is_no_json_is_left_out():
    """A venue's adapter may hang any object on an instrument; the record must still be written."""
    plain = make.equity("AAPL.XNAS", "USD")
    odd = kinds.Equity.from_dict({**kinds.Equity.to_dict(plain), "info": {"contract": object()}})
    assert describe(odd, [])["definition"] == {**kinds.Equity.to_dict(plain), "info": None}
