"""What orders need of an account and the account does not say yet. Pure.

From the moment an order is sent until the first word of the account after the venue took it, its need counts here.
"""

from __future__ import annotations

from decimal import Decimal

from nautilus_ext.risk.steps import up

ZERO = Decimal(0)
SETTLING_MAX = 10_000  # orders whose venue says nothing of the account


class Needs:
    """By account and currency."""

    def __init__(self) -> None:
        self._sums: dict[tuple[str, str], Decimal] = {}
        self._needs: dict[str, tuple[tuple[str, str], Decimal]] = {}
        self._settling: dict[str, dict[str, bool]] = {}  # whether some of it was filled

    def of(self, account_id: str, currency: str) -> Decimal:
        return self._sums.get((account_id, currency), ZERO)

    def add(self, client_order_id: str, account_id: str, currency: str, amount: Decimal) -> None:
        """So much more than what this order needed before."""
        if amount > 0:
            amount, place = up(amount), (account_id, currency)
            had = self._needs.get(client_order_id, (place, ZERO))[1]
            self._needs[client_order_id] = (place, had + amount)
            self._sums[place] = self._sums.get(place, ZERO) + amount

    def drop(self, client_order_id: str) -> None:
        """The order came to nothing."""
        found = self._needs.pop(client_order_id, None)
        if found is not None:
            place, amount = found
            self._sums[place] -= amount
            self._settling.get(place[0], {}).pop(client_order_id, None)

    def settle(self, client_order_id: str, *, filled: bool = False) -> None:
        """The venue has it: the account's next word includes it."""
        found = self._needs.get(client_order_id)
        if found is None:
            return
        settling = self._settling.setdefault(found[0][0], {})
        settling[client_order_id] = filled or settling.get(client_order_id, False)
        if len(settling) > SETTLING_MAX:
            self.drop(next(iter(settling)))

    def end(self, client_order_id: str) -> None:
        """It is over: what was filled of it counts until the account says so."""
        found = self._needs.get(client_order_id)
        if found is not None and not self._settling.get(found[0][0], {}).get(client_order_id):
            self.drop(client_order_id)

    def told(self, account_id: str) -> None:
        """The account said what it has."""
        for client_order_id in list(self._settling.get(account_id, ())):
            self.drop(client_order_id)
