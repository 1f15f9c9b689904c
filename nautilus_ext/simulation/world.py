"""What a server of the simulated exchange is started with: the market, the venues' ways, when it ends. Pure."""

from __future__ import annotations

import hashlib

import msgspec

from nautilus_ext.simulation.faults import Faults  # noqa: TC001 - msgspec reads it when it makes a decoder
from nautilus_ext.simulation.market import MODEL_VERSION, Listing, Market

LINGER_S = 900.0
LATENCY_MS_MAX = 10_000
LEVELS_MAX = 100
FIXED = ("kind", "tick", "lot", "multiplier", "base", "quote")  # what orders and positions are counted in


class VenueTerms(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How one venue behaves."""

    name: str
    latency_ms: int = 0  # one way: of each request to it, and of everything that it sends
    levels: int = 5  # of the strangers' orders, per side
    faults: Faults | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.latency_ms <= LATENCY_MS_MAX:
            raise ValueError(f"venue {self.name!r}: latency_ms is {self.latency_ms}; 0 to {LATENCY_MS_MAX} ms")
        if not 1 <= self.levels <= LEVELS_MAX:
            raise ValueError(f"venue {self.name!r}: levels is {self.levels}; 1 to {LEVELS_MAX}")


class World(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything that a server needs to know. A venue without terms of its own has the usual ones."""

    market: Market
    venues: tuple[VenueTerms, ...] = ()
    linger_s: float = LINGER_S  # how long it waits for a client that was lost

    def __post_init__(self) -> None:
        names = [terms.name for terms in self.venues]
        twice = sorted({name for name in names if names.count(name) > 1})
        unlisted = sorted(set(names) - {venue_of(each.instrument_id) for each in self.market.listings})
        if twice or unlisted:
            raise ValueError(f"venues named twice: {twice}; without a listing: {unlisted}; remove them")
        if not 0 <= self.linger_s < float("inf"):
            raise ValueError(f"linger_s is {self.linger_s}; it must be at least 0 seconds")

    @property
    def digest(self) -> str:
        """The same for worlds in which trading is the same. How long a server lingers does not belong to it."""
        parts = msgspec.json.encode((MODEL_VERSION, self.market, self.venues), order="sorted")
        return hashlib.sha256(parts).hexdigest()[:16]

    def terms(self) -> tuple[VenueTerms, ...]:
        """All venues, by name, with the usual terms where none are given."""
        given = {terms.name: terms for terms in self.venues}
        return tuple(given.get(name) or VenueTerms(name=name) for name in sorted(self.listings()))

    def listings(self) -> dict[str, tuple[Listing, ...]]:
        """By venue."""
        found: dict[str, tuple[Listing, ...]] = {}
        for listing in self.market.listings:
            venue = venue_of(listing.instrument_id)
            found[venue] = (*found.get(venue, ()), listing)
        return found

    def to_json(self) -> bytes:
        return msgspec.json.encode(self)


def from_json(text: bytes) -> World:
    return msgspec.json.decode(text, type=World)


def venue_of(instrument_id: str) -> str:
    return instrument_id.rpartition(".")[2]


def broken_promises(old: World, new: World, in_use: set[str]) -> list[str]:
    """Name each listing with orders or positions that the new world has not, or has in other units."""
    now = {listing.instrument_id: listing for listing in new.market.listings}
    problems = []
    for was in (listing for listing in old.market.listings if listing.instrument_id in in_use):
        listing = now.get(was.instrument_id)
        if listing is None:
            problems.append(f"{was.instrument_id} is gone")
            continue
        problems += [
            f"{was.instrument_id}: {name} was {getattr(was, name)} and is now {getattr(listing, name)}"
            for name in FIXED
            if getattr(was, name) != getattr(listing, name)
        ]
    return problems
