# SPDX-License-Identifier: Apache-2.0
"""A service that others wrote, as the model has it: what `Foreign.vy` does.

Our contracts may trust it with nothing but the coins that were transferred there.
"""

# ruff: noqa: ARG002, since it answers the same questions as ours
from __future__ import annotations

from dataclasses import dataclass, field

from tests.stateful.model import MAX_BALANCE, Call, Ledger, Refused, Serving, remove, require

HONEST, LIAR, SILENT, RUDE, STUBBORN, KEEPER, CALLER, BRAGGART = range(8)
MANNERS = (HONEST, LIAR, SILENT, RUDE, STUBBORN, KEEPER, CALLER, BRAGGART)


@dataclass
class Foreign(Serving):
    manner: int = HONEST
    victim: str = ""
    amount: int = 0
    balances: dict[tuple[str, str], int] = field(default_factory=dict)
    asked: dict[tuple[str, str], int] = field(default_factory=dict)
    providers: dict[str, list[str]] = field(default_factory=dict)

    def speaks(self) -> bool:
        return self.manner != SILENT

    def account_exists(self, call: Call, user: str, provider: str) -> bool:
        self._answer()
        return provider in self.providers.get(user, [])

    def get_pending_refund(self, call: Call, user: str, provider: str) -> int:
        self._answer()
        require(not self.book or provider in self.providers.get(user, []), "")
        return self.asked.get((user, provider), 0)

    def locked_balance(self, call: Call, user: str) -> int:
        self._answer()
        if self.manner == BRAGGART:
            return 2**256 - 1
        return sum(self.balances[user, provider] for provider in self.providers.get(user, []))

    def providers_of(self, call: Call, user: str) -> list[str]:
        self._answer()
        return list(self.providers.get(user, []))

    def add_account(self, call: Call, user: str, provider: str, info: str) -> None:
        self._act()
        require(call.value <= MAX_BALANCE, "Error", message="too much")
        self.balances[user, provider], self.asked[user, provider] = call.value, 0
        self.providers.setdefault(user, []).append(provider)

    def deposit_fund(self, call: Call, user: str, provider: str, cancel: int) -> None:
        self._act()
        self.balances[user, provider] += call.value
        require(self.balances[user, provider] <= MAX_BALANCE, "Error", message="too much")
        self.asked[user, provider] -= min(cancel, self.asked[user, provider])

    def request_refund_all(self, call: Call, user: str, provider: str) -> None:
        self._act()
        self.asked[user, provider] = self.balances[user, provider]

    def process_refund(self, call: Call, user: str, provider: str) -> tuple[int, int, int]:
        self._act()
        paid = 0 if self.manner == KEEPER else self.asked[user, provider]
        self.asked[user, provider] -= paid
        self.balances[user, provider] -= paid
        self.network.move(self.address, call.sender, paid)
        return paid + (self.manner == LIAR), self.balances[user, provider], self.asked[user, provider]

    def delete_account(self, call: Call, user: str, provider: str) -> None:
        self._act()
        require(self.manner != STUBBORN, "Error", message="never")
        if provider in self.providers.get(user, []):
            remove(self.providers[user], provider)

    def spend(self, call: Call, user: str, provider: str, amount: int) -> None:
        balance = self.balances.get((user, provider), 0)
        require(amount <= balance, "Error", message="not that much")
        self.balances[user, provider] = balance - amount
        self.asked[user, provider] = min(self.asked.get((user, provider), 0), balance - amount)
        if not self.book:
            self._ledger().spend_fund(Call(self.address), user, amount)
        self.network.move(self.address, call.sender, amount)

    def behave(self, call: Call, manner: int, victim: str, amount: int) -> None:
        self.manner, self.victim, self.amount = manner, victim, amount

    def receive(self, call: Call) -> None:
        raise Refused("")

    def _ledger(self) -> Ledger:
        ledger = self.network.contracts[self.ledger]
        assert isinstance(ledger, Ledger)
        return ledger

    def _answer(self) -> None:
        require(self.manner != SILENT, "")

    def _act(self) -> None:
        """`spend_fund` refuses before it does anything."""
        self._answer()
        require(self.manner != RUDE, "Error", message="not today")
        if self.manner == CALLER:
            success = True
            try:
                self._ledger().spend_fund(Call(self.address), self.victim, self.amount)
            except Refused:
                success = False
            self.emit("Answered", success=success)
