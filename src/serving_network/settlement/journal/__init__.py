# SPDX-License-Identifier: Apache-2.0
"""The journal: the state of settlements on disk, written so that a run can be killed at any moment.

Each layer extends the one before it:

| module | adds |
|---|---|
| `queue` | the users' requests, and what is paid of them |
| `readings` | how far each log was read |
| `served` | requests that a gateway served, taken into the queue |
| `batches` | signed settlements, and the transactions that carry them |
| `bookings` | what the chain did with them |
| `decisions` | adopted settlements and void requests |

Writes happen in this order, each in one database transaction:

1. `record`: requests as they are read, each once, with the price list in force.
2. `add_batch`: the signed settlements together with the raw transaction that will carry them, *before* it is
   broadcast.
3. `add_transaction`: another transaction for the batch, also before it is broadcast: a replacement with a higher
   fee, a new one if something else used the wallet's nonce, or an empty one that cancels the batch.
4. `accept`, `refuse`, `add_mined`: the results of settlements and transactions, read from the chain. An acceptance
   moves the user's cursor.
5. `end_batch`: none of the batch's transactions can take effect any more.
6. `finalise`: acceptances in final blocks become permanent. `unbook` undoes acceptances whose block is no longer part
   of the chain.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from serving_network.settlement.journal.decisions import Decisions
from serving_network.store.database import Database
from serving_network.store.location import Location
from serving_network.store.opening import BUSY, Identity, connected, connected_for_reading, unusable


class Journal(Decisions):
    """The journal of one provider on one chain. Use `open_journal`."""


@contextmanager
def open_journal(path: Location, identity: Identity, clock: Callable[[], float] = time.time) -> Iterator[Journal]:
    """Open the journal at `path`. Create it, accessible to its owner only, or migrate it from an earlier version.

    A PostgreSQL store is locked against other settlers: raises RunInProgress. Raises JournalFailure if the journal
    cannot be used, and JournalOfAnother if it does not belong to `identity`.
    """
    with connected(path, identity, alone=BUSY) as connection:
        yield _loaded(connection, path, clock)


@contextmanager
def read_journal(path: Location) -> Iterator[Journal]:
    """Open the journal at `path` read-only, in its current state; a run may keep writing it.

    Raises JournalFailure if it does not exist or is of another version.
    """
    with connected_for_reading(path) as connection:
        yield _loaded(connection, path, time.time)


def _loaded(connection: Database, path: Location, clock: Callable[[], float]) -> Journal:
    try:
        journal = Journal(connection, path, clock)
    except (TypeError, ValueError) as error:
        raise unusable(path, error) from error
    _check_whole(connection, path)
    return journal


def _check_whole(connection: Database, path: Location) -> None:
    """Raises JournalFailure if users and requests are of different times.

    SQLite writes the -wal file that a killed run left into any journal beside it, also into an older one that was
    copied there. The mixture passes SQLite's own checks.
    """
    if connection.execute(
        "SELECT 1 FROM user u WHERE u.requests <>"
        " coalesce((SELECT max(r.number) + 1 FROM request r WHERE r.user_id = u.id), 0) LIMIT 1"
    ).fetchone():
        raise unusable(path, ValueError("its parts do not belong together: was it restored beside an old -wal file?"))
