# SPDX-License-Identifier: Apache-2.0
"""One thread that commits whatever is queued.

The thread takes all jobs that are waiting, runs them in one transaction and commits it; while it commits, the next jobs
gather. No request waits for a timer, and many requests share a commit. The jobs of one round of the event loop reach
the thread together, with those of the next rounds while each brings more: a commit costs as much processor time as four
rows. Jobs for which no request waits go along with others, or soon after. Jobs of one kind run together, so that
PostgreSQL gets the rows of many requests in one round trip. If any job fails, each runs alone: a job that fails is
undone, and no other.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from queue import SimpleQueue
from typing import Any, Final, NamedTuple, TypeVar

from serving_network.store.database import Database, DatabaseFailure
from serving_network.store.location import Location
from serving_network.store.opening import Identity, JournalFailure, connected

MORE_ROUNDS: Final = 4
"""How many rounds of the event loop a job waits for others at most."""

V = TypeVar("V")
T = TypeVar("T")
Kind = Callable[[Database, Sequence[V]], Sequence[T]]
"""What does jobs of one kind, in the transaction of a batch. It returns their results."""


class _Job(NamedTuple):
    order: int
    kind: Kind[Any, Any]
    value: Any
    user: str | None
    future: asyncio.Future[Any]


_Results = list[tuple["asyncio.Future[Any]", Any, Exception | None]]


class Writer:
    """The thread. `submit` is called from the thread of one event loop.

    `kinds` are in the order in which the jobs of a batch run; other kinds run after them. `connect` is called with each
    new connection, and `enter` at the start of each transaction.
    """

    def __init__(
        self,
        store: Location,
        identity: Identity,
        kinds: Sequence[Kind[Any, Any]],
        *,
        connect: Callable[[Database], None] = lambda _: None,
        enter: Callable[[Database], None] = lambda _: None,
    ) -> None:
        self._store = store
        self._identity = identity
        self._order: Final = {kind: number for number, kind in enumerate(kinds)}
        self._connect = connect
        self._enter = enter
        self._gathered: list[_Job] = []
        """The jobs that the thread is not given yet."""
        self._handing_over = False
        """Whether a round of the event loop is about to hand them over."""
        self._latest: asyncio.TimerHandle | None = None
        """When they are handed over in any case."""
        self._jobs: SimpleQueue[list[_Job] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._write, name="intake", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def close(self) -> None:
        """Commit what is queued, and stop."""
        self._hand_over()
        self._jobs.put(None)
        self._thread.join()

    def submit(self, kind: Kind[V, T], value: V, *, user: str | None = None, within: float = 0.0) -> asyncio.Future[T]:
        """Queue a job. `user` is the one whose account it changes. The future fails with JournalFailure.

        The job waits for others that share its commit, for `within` seconds at most.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._gathered.append(_Job(self._order.get(kind, len(self._order)), kind, value, user, future))
        if within:
            self._latest = self._latest or loop.call_later(within, self._hand_over)
        elif not self._handing_over:
            self._handing_over = True
            loop.call_soon(self._wait_for_more, loop, len(self._gathered), MORE_ROUNDS)
        return future

    def _wait_for_more(self, loop: asyncio.AbstractEventLoop, seen: int, rounds: int) -> None:
        """Hand over once a round has brought no more than the jobs that were `seen`, or no `rounds` are left."""
        gathered = len(self._gathered)
        if gathered > seen and rounds:
            loop.call_soon(self._wait_for_more, loop, gathered, rounds - 1)
        else:
            self._hand_over()

    def _hand_over(self) -> None:
        jobs, self._gathered = self._gathered, []
        self._handing_over = False
        if self._latest is not None:
            self._latest.cancel()
            self._latest = None
        if jobs:
            self._jobs.put(jobs)

    def _write(self) -> None:
        """Commit batches of jobs until the store is closed. After a failure the next batch gets a new connection."""
        last = False
        while not last:
            batch, last = self._next()
            try:
                with connected(self._store, self._identity) as db:
                    self._connect(db)
                    self._commit(db, batch)
                    while not last:
                        batch, last = self._next()
                        self._commit(db, batch)
            except Exception as error:  # noqa: BLE001 - the requests that wait report it
                _settle([(job.future, None, error) for job in batch])

    def _next(self) -> tuple[list[_Job], bool]:
        """All jobs that are waiting, at least one, by kind; whether the store is closed after them."""
        given = [self._jobs.get()]
        while not self._jobs.empty():
            given.append(self._jobs.get())
        jobs = [job for one in given if one is not None for job in one]
        return sorted(jobs, key=lambda job: job.order), None in given

    def _commit(self, db: Database, batch: list[_Job]) -> None:
        try:
            _settle(self._run(db, batch))
        except Exception as error:  # noqa: BLE001 - each job is tried alone, and reports its failure
            _give_up_if_lost(db, error)
            for job in batch:
                _settle(self._alone(db, job))

    def _alone(self, db: Database, job: _Job) -> _Results:
        try:
            return self._run(db, [job])
        except Exception as error:  # noqa: BLE001 - the request that waits for it reports it
            _give_up_if_lost(db, error)
            return [(job.future, None, error)]

    def _run(self, db: Database, batch: list[_Job]) -> _Results:
        """Run jobs in one transaction, in which other gateways cannot change the accounts of their users."""
        results: _Results = []
        db.begin()
        self._enter(db)
        db.lock_accounts(job.user for job in batch if job.user is not None)
        for _, group in groupby(batch, key=lambda job: (job.order, job.kind)):
            jobs = list(group)
            found = jobs[0].kind(db, [job.value for job in jobs])
            results += [(job.future, result, None) for job, result in zip(jobs, found, strict=True)]
        db.commit()
        return results


def each(db: Database, jobs: Sequence[Callable[[Database], T]]) -> list[T]:
    """The kind of jobs that are functions."""
    return [job(db) for job in jobs]


def nothing(rows: Iterable[object]) -> list[None]:
    """The results of jobs without a result."""
    return [None for _ in rows]


def _give_up_if_lost(db: Database, error: Exception) -> None:
    """Undo a failed transaction. Raises the error if the connection is of no more use."""
    if isinstance(error, DatabaseFailure) and error.lost:
        raise error
    if db.in_transaction:
        db.rollback()


def _settle(results: _Results) -> None:
    """Hand results to the event loop that waits for them, in one call."""
    if not results:
        return
    try:
        results[0][0].get_loop().call_soon_threadsafe(_resolve, results)
    except RuntimeError:  # the loop is closed, so nobody waits any more
        return


def _resolve(results: _Results) -> None:
    for future, result, failure in results:
        if future.done():
            continue
        if failure is None:
            future.set_result(result)
        else:
            failed = JournalFailure("The request could not be stored.", cause=str(failure))
            failed.__cause__ = failure
            future.set_exception(failed)
