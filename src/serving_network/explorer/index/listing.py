# SPDX-License-Identifier: Apache-2.0
"""Lists of an index for tables that people sort and page, and sums over many rows.

Amounts are decimal text. They sort by their length first, and are summed in two parts that 64 bits hold: below and
above 10^12 wei, which is enough for 9 trillion coins and 9 million rows.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any, Final, NamedTuple

from serving_network.contracts.models import Status
from serving_network.explorer.index.calls import BY_EVENTS, COUNTED
from serving_network.explorer.index.found import Hit
from serving_network.explorer.index.paid import Paid
from serving_network.explorer.index.positions import BLOCK_SQL, position_of
from serving_network.explorer.index.reading import IndexReader

_LOW_DIGITS: Final = 12
_BATCHES_OF_GAS: Final = 500
_HITS: Final = 20
_ACCEPTED: Final = f"status <= {Status.PARTIAL.value}"


class SettledRow(NamedTuple):
    """A settled row. `batch` is the key of its batch, `fee` what was signed; both None if unknown."""

    position: int
    time: int
    service: str
    provider: str | None
    user: str
    form: str
    status: int
    paid: int
    fee: int | None
    nonce: int | None
    tx: str
    batch: int | None


class BatchRow(NamedTuple):
    """A call that settled rows together."""

    position: int
    time: int
    service: str
    provider: str | None
    form: str
    size: int
    accepted: int
    paid: int
    fee: int | None
    tx: str


class UserRow(NamedTuple):
    """A user's money, and what providers were paid of it."""

    user: str
    available: int
    in_accounts: int
    pending: int
    accounts: int
    settlements: int
    paid: int

    @property
    def total(self) -> int:
        return self.available + self.in_accounts


class AccountRow(NamedTuple):
    """An account with a provider. `unlocks_at` is when its first refund can be paid."""

    service: str
    user: str
    balance: int
    pending: int
    unlocks_at: int | None
    acknowledged: bool


class EventRow(NamedTuple):
    """An event."""

    position: int
    time: int
    contract: str
    name: str
    user: str | None
    provider: str | None
    args: dict[str, Any]
    tx: str


class ChangeRow(NamedTuple):
    """A value of a contract, from `time` on; `until` is None for what holds now. `time` is None if only read later."""

    contract: str
    name: str
    value: str
    time: int | None
    tx: str | None
    current: bool
    read_at: int | None


class Mention(NamedTuple):
    """What an address is for another one: `kind` is what that is, `of` its name."""

    what: str
    kind: str
    address: str
    of: str


class Lists:
    """The lists of one index."""

    def __init__(self, reader: IndexReader) -> None:
        self._reader = reader
        self._rows = reader.rows

    # ------------------------------------------------------------------------------------------ sorted and paged

    def count_settled(self, **where: Any) -> int:
        """How many settled rows have these values in these columns."""
        return self._count("settlement", where)

    def settled(self, order: str, falling: bool, offset: int, limit: int, **where: Any) -> list[SettledRow]:
        """Settled rows with these values, ordered by "time", "paid", "fee" or "status"."""
        page, values = _page("settlement", _SETTLED_ORDERS[order], falling, offset, limit, where)
        rows = self._rows(
            "SELECT s.position, b.time, c.name, s.provider, s.user_address, s.form, s.status, s.paid, s.fee, s.nonce,"
            f" s.tx, s.batch FROM ({page}) s LEFT JOIN block b ON b.number = s.position {BLOCK_SQL}"
            f" LEFT JOIN contract c ON c.address = s.service ORDER BY {_ordered(_SETTLED_ORDERS[order], falling, 's.')}",  # noqa: E501
            *values,
        )
        return [
            SettledRow(
                position,
                time,
                service or "",
                provider,
                user,
                form,
                status,
                int(paid),
                _integer(fee),
                _integer(nonce),
                tx,
                batch,
            )
            for position, time, service, provider, user, form, status, paid, fee, nonce, tx, batch in rows
        ]

    def count_batches(self, **where: Any) -> int:
        """How many batches have these values in these columns."""
        return self._count("batch", where)

    def batches(self, order: str, falling: bool, offset: int, limit: int, **where: Any) -> list[BatchRow]:
        """Batches with these values, ordered by "time", "rows", "paid" or "fee"."""
        page, values = _page("batch", _BATCH_ORDERS[order], falling, offset, limit, where)
        rows = self._rows(
            "SELECT s.position, b.time, c.name, s.provider, s.form, s.size, s.accepted, s.paid, s.fee, s.tx"
            f" FROM ({page}) s LEFT JOIN block b ON b.number = s.position {BLOCK_SQL}"
            f" LEFT JOIN contract c ON c.address = s.service ORDER BY {_ordered(_BATCH_ORDERS[order], falling, 's.')}",
            *values,
        )
        return [
            BatchRow(position, time, service or "", provider, form, size, accepted, int(paid), _integer(fee), tx)
            for position, time, service, provider, form, size, accepted, paid, fee, tx in rows
        ]

    def count_events(self, **where: Any) -> int:
        """How many events have these values in these columns."""
        return self._count("event", where)

    def events(self, falling: bool, offset: int, limit: int, **where: Any) -> list[EventRow]:
        """Events with these values in these columns, in the order of the chain."""
        page, values = _page("event", ("position",), falling, offset, limit, where)
        rows = self._rows(
            "SELECT s.position, b.time, c.name, s.name, s.user_address, s.provider, s.args, s.tx"
            f" FROM ({page}) s LEFT JOIN block b ON b.number = s.position {BLOCK_SQL}"
            f" LEFT JOIN contract c ON c.address = s.contract ORDER BY {_ordered(('position',), falling, 's.')}",
            *values,
        )
        return [
            EventRow(position, time, contract or "", name, user, provider, json.loads(args), tx)
            for position, time, contract, name, user, provider, args, tx in rows
        ]

    def count_accounts(self, provider: str) -> int:
        """How many accounts a provider has."""
        return int(self._rows("SELECT count(*) FROM account WHERE provider = ? AND until IS NULL", provider)[0][0])

    def accounts(self, provider: str, order: str, falling: bool, offset: int, limit: int) -> list[AccountRow]:
        """The accounts of a provider, ordered by "user", "balance" or "pending"."""
        rows = self._rows(
            "SELECT c.name, a.user_address, a.balance, a.pending, a.refunds, a.acknowledged, l.value FROM account a"
            " LEFT JOIN contract c ON c.address = a.service LEFT JOIN setting l ON l.contract = a.service"
            " AND l.name = 'lock_time' AND l.until IS NULL WHERE a.provider = ? AND a.until IS NULL"
            f" ORDER BY {_ordered(_ACCOUNT_ORDERS[order], falling, 'a.')} LIMIT ? OFFSET ?",
            provider,
            limit,
            offset,
        )
        return [
            AccountRow(name, user, int(balance), int(pending), _first_unlock(refunds, lock), bool(acknowledged))
            for name, user, balance, pending, refunds, acknowledged, lock in rows
        ]

    # ------------------------------------------------------------------------------------------ sums

    def users(self, paid: Paid) -> list[UserRow]:
        """Everyone who has a ledger or an account, or has paid."""
        available = dict(self._rows("SELECT user_address, available FROM ledger WHERE until IS NULL"))
        accounts = {
            user: (number, _joined(one, two), _joined(three, four))
            for user, number, one, two, three, four in self._rows(
                f"SELECT user_address, count(*), {_sum_of('balance')}, {_sum_of('pending')} FROM account"
                " WHERE until IS NULL AND service IN"
                " (SELECT contract FROM setting WHERE name = ? AND value = ? AND until IS NULL) GROUP BY user_address",
                COUNTED,
                BY_EVENTS,
            )
        }
        found = []
        for user in dict.fromkeys((*available, *accounts, *paid.users())):
            number, balance, pending = accounts.get(user, (0, 0, 0))
            settlements, wei = paid.of_user(user)
            found.append(UserRow(user, int(available.get(user, 0)), balance, pending, number, settlements, wei))
        return found

    def accounts_by_provider(self) -> dict[tuple[str, str], tuple[int, int, int]]:
        """The number, the balances and the pending refunds of the accounts, by service and provider."""
        rows = self._rows(
            f"SELECT service, provider, count(*), {_sum_of('balance')}, {_sum_of('pending')} FROM account"
            " WHERE until IS NULL GROUP BY service, provider"
        )
        return {
            (service, provider): (number, _joined(one, two), _joined(three, four))
            for service, provider, number, one, two, three, four in rows
        }

    def days(self, provider: str | None = None) -> list[tuple[int, int, int]]:
        """Each day (since 1970, UTC) with settlements, their number and what they paid."""
        where = "" if provider is None else "WHERE provider = ?"
        rows = self._rows(
            f"SELECT day, sum(settlements), {_sum_of('paid')} FROM daily {where} GROUP BY day ORDER BY day",
            *([] if provider is None else [provider]),
        )
        return [(day, int(number), _joined(high, low)) for day, number, high, low in rows]

    def spending(self, user: str) -> tuple[list[tuple[int, int]], list[tuple[str, int, int]]]:
        """What a user paid by day, and by provider with the number of settlements, the most first."""
        days: dict[int, int] = defaultdict(int)
        providers: dict[str, list[int]] = defaultdict(lambda: [0, 0])
        for provider, paid, time in self._rows(
            f"SELECT s.provider, s.paid, b.time FROM settlement s JOIN block b ON b.number = s.position {BLOCK_SQL}"
            f" WHERE s.user_address = ? AND s.{_ACCEPTED} AND s.provider IS NOT NULL",
            user,
        ):
            days[time // 86_400] += int(paid)
            providers[provider][0] += 1
            providers[provider][1] += int(paid)
        by_provider = [(provider, number, paid) for provider, (number, paid) in providers.items()]
        return sorted(days.items()), sorted(by_provider, key=lambda one: -one[2])

    def active_since(self, time: int) -> tuple[int, int]:
        """How many users paid, and how many providers were paid, in blocks of this time and later."""
        first = self._rows("SELECT min(number) FROM block WHERE time >= ?", time)[0][0]
        if first is None:
            return 0, 0
        users, providers = self._rows(
            "SELECT count(DISTINCT user_address), count(DISTINCT provider) FROM settlement"
            f" WHERE position >= ? AND {_ACCEPTED}",
            position_of(int(first), 0),
        )[0]
        return int(users), int(providers)

    def changes(self, contract: str | None = None) -> list[ChangeRow]:
        """Every value of the contracts' settings, newest first."""
        where = "" if contract is None else "WHERE s.contract = ?"
        rows = self._rows(
            "SELECT CASE WHEN c.role = 'beacon' THEN 'beacon of ' || c.name ELSE c.name END,"
            " s.name, s.value, b.time, e.tx, s.until, s.read_at FROM setting s"
            " LEFT JOIN contract c ON c.address = s.contract"
            f" LEFT JOIN block b ON b.number = s.since {BLOCK_SQL} LEFT JOIN event e ON e.position = s.since {where}"
            " ORDER BY s.since DESC, s.contract, s.name",
            *([] if contract is None else [contract]),
        )
        return [
            ChangeRow(contract, name, value, time, tx, until is None, read_at)
            for contract, name, value, time, tx, until, read_at in rows
        ]

    def with_accounts(self) -> frozenset[str]:
        """The services with an account book: what users have in others is known by the ledger's count only."""
        rows = self._rows(
            "SELECT contract FROM setting WHERE name = ? AND value = ? AND until IS NULL", COUNTED, BY_EVENTS
        )
        return frozenset(contract for (contract,) in rows)

    def mentions(self, address: str) -> list[Mention]:
        """For whom an address is now a TEE signer, an owner, an implementation or something else."""
        signers = self._rows(
            "SELECT DISTINCT 'signer', 'provider', provider, provider FROM offer WHERE signer = ? AND until IS NULL",
            address,
        )
        settings = self._rows(
            "SELECT s.name, CASE WHEN c.role = 'service' THEN 'service' ELSE 'contract' END, s.contract, c.name"
            " FROM setting s JOIN contract c ON c.address = s.contract WHERE s.value = ? AND s.until IS NULL"
            " ORDER BY c.name, s.name",
            address,
        )
        return [Mention(*row) for row in (*signers, *settings)]

    def statuses(self, batch: int) -> dict[int, int]:
        """How many rows of a batch have each status."""
        rows = self._rows("SELECT status, count(*) FROM settlement WHERE batch = ? GROUP BY status", batch)
        return {status: int(number) for status, number in rows}

    def stakes(self) -> dict[tuple[str, str], int]:
        """The stakes, by service and provider."""
        rows = self._rows("SELECT service, provider, amount FROM stake WHERE until IS NULL")
        return {(service, provider): int(amount) for service, provider, amount in rows}

    def gas_per_user(self) -> int | None:
        """The median over the newest batches of the gas of a settled user; None if it is not known."""
        rows = self._rows(
            "SELECT t.gas_used, b.size FROM (SELECT tx, sum(size) AS size, max(position) AS position FROM"
            " (SELECT * FROM batch ORDER BY position DESC LIMIT ?) n GROUP BY tx) b JOIN tx t ON t.hash = b.tx"
            " WHERE t.gas_used IS NOT NULL",
            _BATCHES_OF_GAS,
        )
        found = [int(gas) // int(size) for gas, size in rows if size]
        return int(median(found)) if found else None

    def search(self, text: str) -> list[Hit]:
        """What a text stands for; if nothing, what begins with this part of an address or a hash."""
        wanted = text.strip()
        return self._reader.search(wanted) or (self._starting_with(wanted) if wanted.startswith("0x") else [])

    def _starting_with(self, text: str) -> list[Hit]:
        """Users, providers and transactions whose address or hash starts with a text, at most some of each."""
        digits = text[2:].lower()
        if not digits or len(digits) > 64 or not all(one in "0123456789abcdef" for one in digits):
            return []
        pattern = f"0x{digits}%"
        hits = []
        for kind, table, column in (
            ("provider", "offer", "provider"),
            ("user", "ledger", "user_address"),
            ("transaction", "tx", "hash"),
        ):
            rows = self._rows(
                f"SELECT DISTINCT {column} FROM {table} WHERE lower({column}) LIKE ? ORDER BY {column} LIMIT ?",
                pattern,
                _HITS,
            )
            hits += [Hit(kind, key, key) for (key,) in rows]
        return hits

    def _count(self, table: str, where: Mapping[str, Any]) -> int:
        condition, values = _where(where)
        return int(self._rows(f"SELECT count(*) FROM {table}{condition}", *values)[0][0])


_SETTLED_ORDERS: Final = {
    "time": ("position",),
    "paid": ("length(paid)", "paid"),
    "fee": ("length(coalesce(fee, ''))", "fee"),
    "status": ("status",),
}
_BATCH_ORDERS: Final = {
    "time": ("position",),
    "rows": ("size",),
    "paid": ("length(paid)", "paid"),
    "fee": ("length(coalesce(fee, ''))", "fee"),
}
_ACCOUNT_ORDERS: Final = {
    "user": ("user_address",),
    "balance": ("length(balance)", "balance"),
    "pending": ("length(pending)", "pending"),
}


def _page(
    table: str, order: Sequence[str], falling: bool, offset: int, limit: int, where: Mapping[str, Any]
) -> tuple[str, tuple[Any, ...]]:
    """The rows of one page, chosen before anything is joined to them."""
    condition, values = _where(where)
    query = f"SELECT * FROM {table}{condition} ORDER BY {_ordered(order, falling)} LIMIT ? OFFSET ?"
    return query, (*values, limit, offset)


def _ordered(columns: Sequence[str], falling: bool, prefix: str = "") -> str:
    """The columns in one direction, and the position, so that pages do not overlap."""
    direction = " DESC" if falling else ""
    named = [_prefixed(one, prefix) for one in columns]
    if columns != ("position",) and not any(
        "user_address" in one or "balance" in one or "pending" in one for one in columns
    ):
        named.append(f"{prefix}position")
    return ", ".join(f"{one}{direction}" for one in named)


def _prefixed(expression: str, prefix: str) -> str:
    name, bracket, rest = expression.rpartition("(")
    return f"{name}{bracket}{prefix}{rest}" if bracket else f"{prefix}{expression}"


def _where(where: Mapping[str, Any]) -> tuple[str, tuple[Any, ...]]:
    if not where:
        return "", ()
    return " WHERE " + " AND ".join(f"{name} = ?" for name in where), tuple(where.values())


def _sum_of(column: str) -> str:
    """The sum of the digits above the last twelve, and the sum of the last twelve."""
    is_long = f"length({column}) > {_LOW_DIGITS}"
    high = f"CAST(substr({column}, 1, length({column}) - {_LOW_DIGITS}) AS BIGINT)"
    low = f"CAST(substr({column}, length({column}) - {_LOW_DIGITS - 1}) AS BIGINT)"
    return (
        f"sum(CASE WHEN {is_long} THEN {high} ELSE 0 END),"
        f" sum(CASE WHEN {is_long} THEN {low} ELSE CAST({column} AS BIGINT) END)"
    )


def _joined(high: Any, low: Any) -> int:
    return int(high or 0) * 10**_LOW_DIGITS + int(low or 0)


def _integer(text: Any) -> int | None:
    return None if text is None else int(text)


def _first_unlock(refunds: str, lock_time: str | None) -> int | None:
    found = json.loads(refunds)
    return int(found[0][1]) + int(lock_time) if found and lock_time is not None else None
