# SPDX-License-Identifier: Apache-2.0
"""Gateways that share a PostgreSQL store: which of them live, and how much of a user's free money each may reserve.

A gateway has an id, which it keeps over restarts, and a session for each process. Every transaction of a gateway checks
its session, and keeps it from being ended meanwhile. A session that was not renewed for LEASE_SECONDS, by the clock of
the database, is ended by any other gateway: the streams that it cut are billed by their last checkpoints and its leases
are removed, in one transaction. If the process lives after all, nothing that it still writes is stored, so nothing that
it serves is delivered or billed twice.

A lease is a slice of a user's free money that only one gateway may reserve. It is given with the user's account locked:

    balance - pending refund - unsettled - all leases >= 0   whenever a lease grows

and lowered in the transaction that stores a served request, which is when its fee becomes part of what is unsettled.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from secrets import token_hex
from typing import Final, NamedTuple

from serving_network.files import RunInProgress
from serving_network.messages.receipts import SignedReceipt
from serving_network.store.billing import Biller, Finished
from serving_network.store.database import Database, DatabaseFailure
from serving_network.store.lookups import UNSETTLED, Mined, unsettled
from serving_network.store.writing import nothing

LEASE_SECONDS: Final = 60
RENEW_SECONDS: Final = 15
PLENTY: Final = 16
"""A user with this many times the money that is asked for gets more at once."""
SLICE: Final = 4
"""How many times as much that is."""

_NOW: Final = "CAST(extract(epoch FROM clock_timestamp()) AS BIGINT)"


class SessionLost(DatabaseFailure):
    """Another gateway has ended this one's session."""


class ReservationLost(DatabaseFailure):
    """What was reserved for a request is free again, because the gateway's session ended meanwhile."""


class Wish(NamedTuple):
    """A lease that shall grow by `wei`. With `base`, it is first set to that, which is what is reserved.

    `mined` is what this gateway knows of a settlement that is not booked.
    """

    user: str
    wei: int
    base: int | None
    mined: Mined


class Grant(NamedTuple):
    """By how much a lease grew, whether the user has plenty, and whether other gateways have leases of the user.

    The lease ends with the session.
    """

    wei: int
    plenty: bool
    contended: bool
    session: str


class Lowered(NamedTuple):
    """A lease that shrinks by `wei`."""

    user: str
    wei: int


def check_no_gateway(db: Database, busy: str) -> None:
    """Raise RunInProgress, with the text `busy`, if a gateway uses a PostgreSQL store."""
    if db.execute(f"SELECT 1 FROM gateway WHERE until >= {_NOW} LIMIT 1").fetchone():  # noqa: S608
        raise RunInProgress(
            busy,
            cause="A gateway, maybe on another machine, has a session.",
            next_step=f"Stop all gateways. If one crashed, wait {LEASE_SECONDS} seconds.",
        )


class Sessions:
    """The session of one gateway. Used by the thread that writes."""

    def __init__(self, gateway: str, biller: Biller, clock: Callable[[], float] = time.monotonic) -> None:
        self.gateway = gateway
        self._biller = biller
        self._clock = clock
        self._session = ""
        self._renewed = 0.0

    def start(self, db: Database) -> int:
        """Begin the first session of a process, and end the one before it. Returns how many streams that billed."""
        db.execute(
            "SELECT 1 FROM gateway WHERE id = ? FOR UPDATE", (self.gateway,)
        )  # a transaction of the old session, if any, ends first
        billed = self._end(db, self.gateway)
        self._begin(db)
        return billed

    def connect(self, db: Database) -> None:
        """Continue the session on a new connection. If it was ended, begin another one."""
        db.begin()
        if not self._renew(db):
            self._begin(db)
        db.commit()

    def enter(self, db: Database) -> None:
        """Check the session at the start of a transaction, and renew it if that is due.

        Raises SessionLost, at the latest with the commit.
        """
        lost = SessionLost("Another gateway has taken over, because this one was not heard of.", lost=True)
        if self._clock() - self._renewed < RENEW_SECONDS:
            own = (self.gateway, self._session)
            db.require("SELECT id FROM gateway WHERE id = ? AND session = ? FOR SHARE", own, lost)
        elif not self._renew(db):
            raise lost

    def _renew(self, db: Database) -> bool:
        """Renew the session. Returns whether it lasted until now."""
        now = self._clock()
        query = f"UPDATE gateway SET until = {_NOW} + {LEASE_SECONDS} WHERE id = ? AND session = ? RETURNING id"  # noqa: S608
        if db.execute(query, (self.gateway, self._session)).fetchone() is None:
            return False
        self._renewed = now
        return True

    def take_over(self, db: Database) -> int:
        """End the sessions of gateways that are not heard of any more. Returns how many streams were billed."""
        late = db.execute(
            f"SELECT id FROM gateway WHERE until < {_NOW} AND id <> ? FOR UPDATE SKIP LOCKED",  # noqa: S608
            (self.gateway,),
        ).fetchall()
        billed = 0
        for (gateway,) in late:
            billed += self._end(db, gateway)
            db.execute("DELETE FROM gateway WHERE id = ?", (gateway,))
        return billed

    def leave(self, db: Database) -> None:
        """End the session at the end of the process."""
        db.begin()
        self.enter(db)
        self._end(db, self.gateway)
        db.execute("DELETE FROM gateway WHERE id = ?", (self.gateway,))
        db.commit()

    def _begin(self, db: Database) -> None:
        self._session = token_hex(16)
        self._renewed = self._clock()
        db.execute(
            f"INSERT INTO gateway VALUES (?, ?, {_NOW} + {LEASE_SECONDS}) ON CONFLICT (id) DO UPDATE SET"  # noqa: S608
            " session = excluded.session, until = excluded.until",
            (self.gateway, self._session),
        )

    def _end(self, db: Database, gateway: str) -> int:
        billed = self._biller.bill_cut(db, gateway)
        db.execute("DELETE FROM lease WHERE gateway = ?", (gateway,))
        return billed

    # ----------------------------------------------------------------------------------------------- leases

    def bill(self, db: Database, requests: Sequence[Finished]) -> list[SignedReceipt]:
        """Bill requests, and lower the leases by what they had reserved. Raises ReservationLost."""
        if any(one.terms.session not in ("", self._session) for one in requests):
            raise ReservationLost("Another gateway took over while the request was served.")
        receipts = self._biller.bill(db, requests)
        self.lower(db, [Lowered(one.terms.user, one.lowers) for one in requests if one.lowers])
        return receipts

    def lower(self, db: Database, lowered: Sequence[Lowered]) -> list[None]:
        """Lower leases."""
        db.executemany(
            "UPDATE lease SET wei = CAST(greatest(0, CAST(wei AS NUMERIC) - CAST(CAST(? AS TEXT) AS NUMERIC)) AS TEXT)"
            " WHERE address = ? AND gateway = ?",
            [(str(wei), user, self.gateway) for user, wei in lowered],
        )
        return nothing(lowered)

    def grow(self, db: Database, wishes: Sequence[Wish]) -> list[Grant]:
        """Grow leases out of what is free, in this order. The accounts of their users are locked."""
        users = sorted({one.user for one in wishes})
        self._set_bases(db, wishes)
        mined = {one.user: one.mined for one in wishes}
        found = {
            user: (int(balance) - int(pending) - unsettled(mined[user], *parts) if block >= 0 else 0)
            for user, balance, pending, block, *parts in db.query_many(
                f"SELECT a.address, a.balance, a.pending_refund, a.block_number, {UNSETTLED} WHERE a.address = ?",
                [(user,) for user in users],
            )
        }
        own: dict[str, int] = {}
        others: dict[str, int] = {}
        for user, gateway, wei in db.query_many(
            "SELECT address, gateway, wei FROM lease WHERE address = ?", [(user,) for user in users]
        ):
            leases = own if gateway == self.gateway else others
            leases[user] = leases.get(user, 0) + int(wei)
        grants = []
        for user, wei, _, _ in wishes:
            free = found.get(user, 0) - own.get(user, 0) - others.get(user, 0)
            plenty = free >= PLENTY * wei
            grant = wei * SLICE if plenty else max(0, min(wei, free))
            own[user] = own.get(user, 0) + grant
            grants.append(Grant(grant, plenty, others.get(user, 0) > 0, self._session))
        db.executemany(
            "INSERT INTO lease VALUES (?, ?, ?) ON CONFLICT (address, gateway) DO UPDATE SET wei = excluded.wei",
            [(self.gateway, user, str(wei)) for user, wei in sorted(own.items())],
        )
        return grants

    def _set_bases(self, db: Database, wishes: Sequence[Wish]) -> None:
        db.executemany(
            "INSERT INTO lease VALUES (?, ?, ?) ON CONFLICT (address, gateway) DO UPDATE SET wei = excluded.wei",
            [(self.gateway, one.user, str(one.base)) for one in wishes if one.base is not None],
        )
