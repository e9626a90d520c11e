# SPDX-License-Identifier: Apache-2.0
"""The rows of the tables with versions, as Python values: amounts in wei are int, refunds oldest first."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol, Self


class Row(Protocol):
    """The columns of a table without its key, `since` and `until`."""

    @classmethod
    def read(cls, values: tuple[Any, ...]) -> Self:
        """Convert the stored values."""

    def stored(self) -> tuple[Any, ...]:
        """The values to store."""

    def sums(self) -> Mapping[str, int]:
        """What the row adds to the totals of its contract."""


class LedgerRow(NamedTuple):
    """A user's ledger."""

    available: int
    info: str
    read_at: int | None = None

    @classmethod
    def read(cls, values: tuple[Any, ...]) -> Self:
        return cls(int(values[0]), values[1], values[2])

    def stored(self) -> tuple[Any, ...]:
        return str(self.available), self.info, self.read_at

    def sums(self) -> Mapping[str, int]:
        return {"ledgers": 1, "available": self.available}


class HeldRow(NamedTuple):
    """What a service without an account book holds for a user."""

    amount: int

    @classmethod
    def read(cls, values: tuple[Any, ...]) -> Self:
        return cls(int(values[0]))

    def stored(self) -> tuple[Any, ...]:
        return (str(self.amount),)

    def sums(self) -> Mapping[str, int]:
        return {"held": self.amount}


class Refund(NamedTuple):
    """A pending refund."""

    amount: int
    created_at: int


class AccountRow(NamedTuple):
    """A user's account with a provider."""

    balance: int
    refunds: tuple[Refund, ...] = ()
    nonce: str | None = None
    acknowledged: bool = True
    penalised: bool = False
    info: str = ""
    read_at: int | None = None

    @property
    def pending(self) -> int:
        return sum([one.amount for one in self.refunds]) if self.refunds else 0

    @classmethod
    def read(cls, values: tuple[Any, ...]) -> Self:
        balance, _pending, refunds, nonce, acknowledged, penalised, info, read_at = values
        found = () if refunds == "[]" else tuple(Refund(int(amount), at) for amount, at in json.loads(refunds))
        return cls(int(balance), found, nonce, bool(acknowledged), bool(penalised), info, read_at)

    def stored(self) -> tuple[Any, ...]:
        refunds = json.dumps([[str(amount), at] for amount, at in self.refunds]) if self.refunds else "[]"
        return (
            str(self.balance), str(self.pending), refunds, self.nonce, int(self.acknowledged), int(self.penalised),
            self.info, self.read_at,
        )  # fmt: skip

    def sums(self) -> Mapping[str, int]:
        return {"accounts": 1, "balances": self.balance, "pending": self.pending}


class StakeRow(NamedTuple):
    """A provider's stake."""

    amount: int

    @classmethod
    def read(cls, values: tuple[Any, ...]) -> Self:
        return cls(int(values[0]))

    def stored(self) -> tuple[Any, ...]:
        return (str(self.amount),)

    def sums(self) -> Mapping[str, int]:
        return {"stakes": self.amount}


class OfferRow(NamedTuple):
    """What a provider registered. `model` and `details` are as stored."""

    url: str
    input_price: int
    output_price: int | None
    model: str
    details: str
    signer: str | None
    confirmed: bool
    info: str | None
    read_at: int | None = None

    @classmethod
    def read(cls, values: tuple[Any, ...]) -> Self:
        url, input_price, output_price, model, details, signer, confirmed, info, read_at = values
        output = None if output_price is None else int(output_price)
        return cls(url, int(input_price), output, model, details, signer, bool(confirmed), info, read_at)

    def stored(self) -> tuple[Any, ...]:
        output = None if self.output_price is None else str(self.output_price)
        return (
            self.url, str(self.input_price), output, self.model, self.details, self.signer, int(self.confirmed),
            self.info, self.read_at,
        )  # fmt: skip

    def sums(self) -> Mapping[str, int]:
        return {"providers": 1}


class DeliverableRow(NamedTuple):
    """A delivered model."""

    root_hash: str
    added_at: int
    state: str
    paid: int | None = None

    @classmethod
    def read(cls, values: tuple[Any, ...]) -> Self:
        root_hash, added_at, state, paid = values
        return cls(root_hash, added_at, state, None if paid is None else int(paid))

    def stored(self) -> tuple[Any, ...]:
        return self.root_hash, self.added_at, self.state, None if self.paid is None else str(self.paid)

    def sums(self) -> Mapping[str, int]:
        return {}


class SettingRow(NamedTuple):
    """A value of a contract."""

    value: str
    read_at: int | None = None

    @classmethod
    def read(cls, values: tuple[Any, ...]) -> Self:
        return cls(*values)

    def stored(self) -> tuple[Any, ...]:
        return self.value, self.read_at

    def sums(self) -> Mapping[str, int]:
        return {}
