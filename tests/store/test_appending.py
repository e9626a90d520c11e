# SPDX-License-Identifier: Apache-2.0
"""Many rows at once: all of them, or none if a key is taken."""

from __future__ import annotations

import pytest

from serving_network.store.database import CONFLICTS
from serving_network.store.location import Location
from serving_network.store.opening import Identity, connected

ONE = Identity(31337, "0x", "0x" + "c3" * 20, "0x" + "b2" * 20)
MANY = 450
"""More than two statements of SQLite."""
Known = list[tuple[bytes, int, int, int]]


def known(*numbers: int) -> Known:
    return [(number.to_bytes(16, "big"), 1, number, 1) for number in numbers]


@pytest.mark.parametrize("twice", [False, True], ids=["recorded before", "twice"])
def test_rows_of_which_a_key_is_taken_change_nothing(location: Location, *, twice: bool) -> None:
    rows = known(*range(MANY))
    with connected(location, ONE) as db:
        for taken in (0, 1, 199, 200, 399, 400, MANY - 1):
            db.begin()
            before = known(1000, 1001) + ([] if twice else [(rows[taken][0], 2, 7, 0)])
            db.append("known", before)
            db.append("price", [(1, "2", "3", "1", 5)])
            assert not db.append_new("known", "hash", sorted([*rows, rows[taken]]) if twice else rows), taken
            db.commit()
            assert db.execute("SELECT * FROM known ORDER BY hash").fetchall() == sorted(before), taken
            assert db.execute("SELECT count(*) FROM price").fetchone() == (1,), taken
            for table in ("known", "price"):
                db.execute(f"DELETE FROM {table}")


@pytest.mark.parametrize("count", [0, 1, 200, MANY])
def test_new_rows_are_inserted_whole(location: Location, count: int) -> None:
    with connected(location, ONE) as db:
        db.begin()
        assert db.append_new("known", "hash", known(*range(count)))
        assert db.append_new("known", "hash", known(1000))
        db.commit()
        assert db.execute("SELECT * FROM known ORDER BY hash").fetchall() == known(*range(count), 1000)
        with pytest.raises(CONFLICTS):
            db.append("known", known(1001, 1000))
