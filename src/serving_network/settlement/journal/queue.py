# SPDX-License-Identifier: Apache-2.0
"""Each user's queue of requests, and the cursor up to which it is paid.

Payments on chain move a cursor along the queue, oldest request first, and may stop in the middle of a request.
Everything before the cursor is paid, everything after it is open. A single number per user, the wei paid, therefore
determines the state of all the user's requests.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from itertools import count
from operator import attrgetter, itemgetter
from typing import Final

from serving_network.messages.prices import Charge, Prices
from serving_network.messages.usage import Reject, UsageRow
from serving_network.settlement.journal.known import Found, mark_met, recorded, recorded_units
from serving_network.settlement.journal.records import OpenWork, Recorded, UserState
from serving_network.store.database import Database
from serving_network.store.location import Location
from serving_network.store.schema import SET_FACT, hash_key

_COMMIT_EVERY: Final = 200_000
_STREAM: Final = "its usage grows, as in the chunks of one stream (--last-of-stream takes the last one)"
_OTHER_TIME: Final = "If it is another request, add --id-with-time"


class _New:
    """New requests: their rows for the tables, and what they add to their users' totals."""

    def __init__(self) -> None:
        self.requests: list[tuple[object, ...]] = []
        self.known: list[tuple[bytes, int, int, int]] = []
        self.own_fees: list[tuple[int, int, str, str]] = []
        self.other_tokens: list[tuple[int, int, str, int]] = []
        self.totals: list[tuple[UserState, int, int, int, int]] = []
        """Users, each with a number of requests, their input tokens, output tokens and wei."""


class _Added:
    """New requests of one user. `number` is that of the next one."""

    __slots__ = ("input_tokens", "number", "output_tokens", "requests", "surcharge", "user", "user_id")

    def __init__(self, user: UserState) -> None:
        self.user = user
        self.user_id = user.id
        self.number = user.requests
        self.requests: list[tuple[object, ...]] = []
        self.input_tokens = 0
        self.output_tokens = 0
        self.surcharge = 0
        """The wei that they cost more, or less, than their tokens at the prices of the list."""


def _streams(rows: Sequence[UsageRow]) -> set[bytes]:
    """The ids under which the usage of one request grows from row to row."""
    last: dict[bytes, UsageRow] = {}
    growing = set()
    for row in rows:
        earlier = last.get(row.request_hash)
        if earlier is not None and row.continues(earlier) and row.output_tokens > earlier.output_tokens:
            growing.add(row.request_hash)
        last[row.request_hash] = row
    return growing


class Queue:
    """The users, their requests and what is paid of them. Use `open_journal`."""

    def __init__(self, connection: Database, path: Location, clock: Callable[[], float] = time.time) -> None:
        self.path = path
        self._clock = clock
        self._db = connection
        self._users: dict[str, UserState] = {}
        self._by_id: dict[int, UserState] = {}
        self._touched: set[str] = set()
        self._in_credit: set[str] = set()
        self._pass = 0
        self._uncommitted = 0
        self._secret: str = connection.execute("SELECT value FROM meta WHERE key = 'secret'").fetchone()[0]
        self._prices: dict[int, Prices] = {}
        self._load()

    def _load(self) -> None:
        """Load users and prices from the database. A UserState handed out before is updated in place."""
        self._prices = {
            number: Prices(int(input_price), int(output_price), int(divisor))
            for number, input_price, output_price, divisor in self._db.execute(
                "SELECT id, input_price, output_price, cached_input_divisor FROM price"
            )
        }
        handed_out, self._users, self._by_id = self._users, {}, {}
        newest = dict(self._db.execute("SELECT user_id, max(nonce) FROM settlement GROUP BY user_id").fetchall())
        for row in self._db.execute(
            "SELECT id, address, requests, input_tokens, output_tokens, owed, billed, paid, open_from FROM user"
            " ORDER BY id"
        ):
            number, address, requests, input_tokens, output_tokens, owed, billed, paid, open_from = row
            user = UserState(
                number, address, requests, input_tokens, output_tokens, int(owed), int(billed), int(paid), open_from,
                int(newest.get(number, 0)),
            )  # fmt: skip
            if address in handed_out:
                for field in fields(UserState):
                    setattr(handed_out[address], field.name, getattr(user, field.name))
                user = handed_out[address]
            self._users[address] = self._by_id[number] = user

    def _undo(self) -> None:
        """Roll back everything that is not yet durable, in the database and in memory."""
        self._db.rollback()
        self._touched.clear()
        self._in_credit.clear()
        self._uncommitted = 0
        self._load()

    # ---------------------------------------------------------------------------------------- recording

    def begin_reading(self) -> None:
        """Start reading a log: an id that occurs twice from here on is a duplicate, one recorded before is known."""
        with self._transaction():
            row = self._db.execute("SELECT value FROM meta WHERE key = 'pass'").fetchone()
            self._pass = int(row[0]) + 1
            self._set_fact("pass", str(self._pass))

    def record(self, rows: Sequence[UsageRow], prices: Prices) -> Recorded:
        """Record requests that are not recorded yet, at these prices unless a row has its own fees.

        They are durable after `end_reading` at the latest. A failure rolls back everything that is not durable yet.
        """
        try:
            return self._record(rows, prices)
        except BaseException:
            self._undo()
            raise

    def _record(self, rows: Sequence[UsageRow], prices: Prices) -> Recorded:
        if not self._db.in_transaction:
            self._db.begin()
        price = self._price_list(prices)
        keys = list(map(hash_key(self._secret), [row.request_hash for row in rows]))
        result = self._record_new(rows, keys, prices, price) or self._record_others(rows, keys, prices, price)
        self._uncommitted += len(rows)
        if self._uncommitted >= _COMMIT_EVERY:
            self.end_reading()
        return result

    def _record_new(
        self, rows: Sequence[UsageRow], keys: Sequence[bytes], prices: Prices, price: int
    ) -> Recorded | None:
        """Record rows that are all new. Returns None, and records nothing, if one is recorded or occurs twice."""
        ends = [(key,) for key in (*keys[:1], *keys[-1:])]
        if self._db.query_many("SELECT 1 FROM known WHERE hash = ?", ends):
            return None  # a log that is read again: nothing is prepared in vain
        made = _New()
        self._append(rows, keys, prices, price, made)
        made.known.sort(key=itemgetter(0))
        if not self._db.append_new("known", "hash", made.known):
            return None
        self._count(made)
        self._write(made)
        return Recorded(len(rows), 0, [])

    def end_reading(self) -> None:
        """Make everything recorded so far durable."""
        self._db.executemany(
            "UPDATE user SET requests = ?, input_tokens = ?, output_tokens = ?, owed = ?, billed = ? WHERE id = ?",
            [
                (user.requests, user.input_tokens, user.output_tokens, str(user.owed), str(user.billed), user.id)
                for user in map(self._users.__getitem__, self._touched)
            ],
        )
        for address in self._in_credit & self._touched:
            self._book(self._users[address], self._users[address].paid)
        self._touched.clear()
        self._in_credit.clear()
        self._uncommitted = 0
        self._db.commit()

    def _price_list(self, prices: Prices) -> int:
        """The number of this price list. Prices that differ from the newest list are added as a new one."""
        newest = max(self._prices, default=0)
        if self._prices.get(newest) == prices:
            return newest
        self._db.execute(
            "INSERT INTO price VALUES (?, ?, ?, ?, ?)",
            (newest + 1, *map(str, prices), int(self._clock())),
        )
        self._prices[newest + 1] = prices
        return newest + 1

    def _write(self, made: _New) -> None:
        """Write the rows of new requests, except those of `known`."""
        self._db.append("request", made.requests)
        self._db.append("own_fee", sorted(made.own_fees))
        self._db.append("other_tokens", sorted(made.other_tokens))

    def _record_others(self, rows: Sequence[UsageRow], keys: Sequence[bytes], prices: Prices, price: int) -> Recorded:
        """Record the new ones among rows of which some are recorded, or occur twice."""
        key_of = hash_key(self._secret)
        later = [key_of(row.at_its_time().request_hash) for row in rows if row.id_with_time]
        found = recorded(self._db, [*keys, *later])
        has_units = any(row.cached_tokens or row.images or row.seconds for row in rows)
        units = recorded_units(self._db, [*keys, *later]) if has_units else {}
        made = _New()
        met: dict[bytes, None] = {}
        rejects: list[Reject] = []
        streams: set[bytes] | None = None
        for row, key in zip(rows, keys, strict=True):
            known = found.get(key)
            if known is None:
                streams = _streams(rows) if streams is None else streams
                if row.request_hash in streams:
                    rejects.append(Reject(row.line, f"duplicate request id {row.request_text}: {_STREAM}", ""))
                    continue
            if known is not None and known.time != row.time and row.id_with_time:
                row = row.at_its_time()
                key = key_of(row.request_hash)
                known = found.get(key)
            if known is None:
                found[key] = self._append_one(row, key, prices, price, made)
            elif (conflict := self._conflict(row, known, units.get(key), met=key in met)) is not None:
                rejects.append(Reject(row.line, f"duplicate request id {row.request_text}{conflict}", ""))
            else:
                met[key] = None
        mark_met(self._db, list(met), self._pass)
        self._db.append("known", sorted(made.known))
        made.requests.sort()
        self._write(made)
        return Recorded(len(made.known), len(met), rejects)

    def _append_one(self, row: UsageRow, key: bytes, prices: Prices, price: int, made: _New) -> Found:
        """Append a request, and return what is then recorded of it."""
        fees = len(made.own_fees)
        self._append([row], [key], prices, price, made)
        self._count(made)
        own_fees = made.own_fees[-1][2:] if len(made.own_fees) > fees else (None, None)
        _, user, number, met = made.known[-1]
        return Found(met, user, number, row.time, row.input_tokens, row.output_tokens, price, *own_fees)

    def _conflict(self, row: UsageRow, found: Found, recorded_units: dict[str, int] | None, *, met: bool) -> str | None:
        """Why a row is not the request that is recorded under its id; None if it is.

        `met` is whether this pass met the request in the rows before.
        """
        of_user = self._by_id[found.user].address == row.user
        same = of_user and (found.input_tokens, found.output_tokens) == (row.input_tokens, row.output_tokens)
        if same and found.time != row.time:
            return f": recorded with another time. {_OTHER_TIME}"
        if met or found.met == self._pass:
            return f": {_STREAM}" if not same and of_user and found.grows_to(row) else ""
        if same and row.fees is not None:
            same = row.fees == self._fees(
                found.price, found.input_tokens, found.output_tokens, found.input_fee, found.output_fee
            )
        if same and recorded_units and (units := row.other_units()):
            same = recorded_units == units
        if same:
            return None
        grows = of_user and found.grows_to(row)
        return (f": {_STREAM}" if grows else "") + ": recorded before with different content"

    def _append(self, rows: Sequence[UsageRow], keys: Sequence[bytes], prices: Prices, price: int, made: _New) -> None:
        """Add to `made` what appends requests to their users' queues.

        The fees of a request that used more than plain tokens are stored as its own. Rows are visited in their order,
        in which they lie in memory: visiting them user by user takes longer.
        """
        met, known = self._pass, made.known
        new_ids = count(next(reversed(self._by_id), 0) + 1)
        of_users: dict[str, _Added] = {}
        for row, key in zip(rows, keys, strict=True):
            (
                _, request_hash, request_text, address, user_text, time, input_tokens, output_tokens, fees, cached,
                images, seconds, _,
            ) = row  # fmt: skip
            added = of_users.get(address)
            if added is None:
                user = self._users.get(address) or UserState(next(new_ids), address, 0, 0, 0, 0, 0, 0, 0, 0)
                added = of_users[address] = _Added(user)
            user_id, number = added.user_id, added.number
            added.number = number + 1
            added.input_tokens += input_tokens
            added.output_tokens += output_tokens
            if fees is not None or cached or images or seconds:
                input_fee, output_fee = fees or prices.fees_of(row)
                added.surcharge += input_fee + output_fee - sum(prices.fees(input_tokens, output_tokens))
                made.own_fees.append((user_id, number, str(input_fee), str(output_fee)))
                made.other_tokens += [(user_id, number, kind, tokens) for kind, tokens in row.other_units().items()]
            plain = user_text == address and request_text == "0x" + request_hash.hex()
            spelling = None if plain else f"{request_text} {user_text}"
            added.requests.append((user_id, number, request_hash, spelling, time, input_tokens, output_tokens, price))
            known.append((key, user_id, number, met))
        for added in sorted(of_users.values(), key=attrgetter("user_id")):
            made.requests += added.requests
            owed = sum(prices.fees(added.input_tokens, added.output_tokens)) + added.surcharge
            made.totals.append((added.user, len(added.requests), added.input_tokens, added.output_tokens, owed))

    def _count(self, made: _New) -> None:
        """Count new requests in their users' totals."""
        new_users = [user for user, *_ in made.totals if user.id not in self._by_id]
        self._db.append("user", [(user.id, user.address, 0, 0, 0, "0", "0", "0", 0, "0") for user in new_users])
        for user in new_users:
            self._users[user.address] = self._by_id[user.id] = user
        for user, requests, input_tokens, output_tokens, owed in made.totals:
            if user.paid > user.owed:
                self._in_credit.add(user.address)
            user.requests += requests
            user.input_tokens += input_tokens
            user.output_tokens += output_tokens
            user.owed += owed
            user.billed += owed
            self._touched.add(user.address)
        made.totals.clear()

    def _set_fact(self, key: str, value: str) -> None:
        self._db.execute(SET_FACT, (key, value))

    # ------------------------------------------------------------------------------------------ reading

    def users(self) -> list[UserState]:
        """All users with recorded requests."""
        return list(self._users.values())

    def user(self, address: str) -> UserState | None:
        """One user; None if no request of that address is recorded."""
        return self._users.get(address)

    def charges(self, user: UserState, limit: int | None = None) -> Iterator[Charge]:
        """The open requests of one user, oldest first, each with the amount still due.

        With `limit`, only as many as that amount of wei covers in full.
        """
        (open_paid,) = self._db.execute("SELECT open_paid FROM user WHERE id = ?", (user.id,)).fetchone()
        already, total = int(open_paid), 0
        for _, request_hash, spelling, input_fee, output_fee in self._queue(user.id, user.open_from):
            if spelling is None:
                request_text, user_text = "0x" + request_hash.hex(), user.address
            else:
                request_text, user_text = spelling.split(" ")
            charge = Charge(request_text, user_text, input_fee, output_fee)
            if already:
                if input_fee + output_fee <= already:
                    already -= input_fee + output_fee
                    continue
                charge, already = charge.less(already), 0
            total += charge.input_fee + charge.output_fee
            if limit is not None and total > limit:
                return
            yield charge

    def _queue(self, user: int, number: int) -> Iterator[tuple[int, bytes, str | None, int, int]]:
        """A user's requests starting at a number: number, hash, spelling and both fees. Void ones are skipped."""
        for row in self._db.execute(
            "SELECT r.number, r.hash, r.spelling, r.input_tokens, r.output_tokens, r.price_id, f.input_fee,"
            " f.output_fee FROM request r LEFT JOIN own_fee f ON f.user_id = r.user_id AND f.number = r.number"
            " LEFT JOIN void v ON v.user_id = r.user_id AND v.number = r.number"
            " WHERE r.user_id = ? AND r.number >= ? AND v.number IS NULL ORDER BY r.number",
            (user, number),
        ):
            place, request_hash, spelling, input_tokens, output_tokens, price, input_fee, output_fee = row
            fees = self._fees(price, input_tokens, output_tokens, input_fee, output_fee)
            yield place, request_hash, spelling, *fees

    def _fees(
        self, price: int, input_tokens: int, output_tokens: int, input_fee: str | None, output_fee: str | None
    ) -> tuple[int, int]:
        """The input and output fee of a recorded request: its own fees if it has any, else from its price list."""
        if input_fee is None or output_fee is None:
            return self._prices[price].fees(input_tokens, output_tokens)
        return int(input_fee), int(output_fee)

    def open_work(self, user: UserState) -> OpenWork:
        """The number of one user's open requests, and their tokens."""
        found = self._db.execute(
            "SELECT count(*), CAST(coalesce(sum(r.input_tokens), 0) AS BIGINT),"
            " CAST(coalesce(sum(r.output_tokens), 0) AS BIGINT) FROM request r"
            " LEFT JOIN void v ON v.user_id = r.user_id AND v.number = r.number"
            " WHERE r.user_id = ? AND r.number >= ? AND v.number IS NULL",
            (user.id, user.open_from),
        ).fetchone()
        return OpenWork(*found)

    def open_units(self) -> dict[str, int]:
        """What the open requests used beside plain tokens, by its kind."""
        return dict(
            self._db.execute(
                "SELECT o.kind, CAST(sum(o.tokens) AS BIGINT) FROM other_tokens o"
                " JOIN user u ON u.id = o.user_id AND o.number >= u.open_from"
                " LEFT JOIN void v ON v.user_id = o.user_id AND v.number = o.number"
                " WHERE v.number IS NULL GROUP BY o.kind ORDER BY o.kind"
            ).fetchall()
        )

    # ------------------------------------------------------------------------------------------- paying

    def _book(self, user: UserState, paid: int) -> None:
        """Move a user's cursor to the point at which `paid` wei of the queue are paid."""
        (open_paid,) = self._db.execute("SELECT open_paid FROM user WHERE id = ?", (user.id,)).fetchone()
        left = paid - user.paid + int(open_paid)
        for number, _, _, input_fee, output_fee in self._queue(user.id, user.open_from):  # noqa: B007  (read after the loop)
            fee = input_fee + output_fee
            if left < fee:
                break
            left -= fee
        else:
            number = user.requests
        user.paid, user.open_from = paid, number
        self._db.execute(
            "UPDATE user SET paid = ?, open_from = ?, open_paid = ? WHERE id = ?",
            (str(paid), number, str(left), user.id),
        )

    def _rewind(self, user: UserState, paid: int) -> None:
        """Move a user's cursor back by `paid` wei."""
        user.open_from = 0
        self._db.execute("UPDATE user SET open_from = 0, open_paid = '0', paid = '0' WHERE id = ?", (user.id,))
        remaining, user.paid = user.paid - paid, 0
        self._book(user, remaining)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        if self._db.in_transaction:
            self.end_reading()
        self._db.begin()
        try:
            yield
            self._db.commit()
        except BaseException:
            self._undo()
            raise
