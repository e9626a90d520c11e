# SPDX-License-Identifier: Apache-2.0
"""Which batches of earlier runs end or hold their users, and what of them counts."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from serving_network.errors import NodeUnreachable, ServingError
from serving_network.settlement.chain import Head
from serving_network.settlement.following import Followed
from serving_network.settlement.report import Report
from serving_network.settlement.resuming import EarlierRuns

FINAL, PASSED = 7, 5
UNREACHABLE = NodeUnreachable("The node does not answer.")


class Journal:
    """A journal in which final settlements have overtaken all of a batch's own, or not, and what was ended in it."""

    def __init__(self, *, overtaken: bool) -> None:
        self._overtaken = overtaken
        self.done: list[str] = []

    def finalise(self, block: int) -> None:
        assert block == FINAL
        self.done.append("finalised")

    def wallet_nonce_passed(self, block: int) -> int:
        assert block == FINAL
        return PASSED

    def overtaken(self, _: Any) -> bool:
        return self._overtaken

    def end_batch(self, _: Any) -> None:
        self.done.append("ended")


@pytest.mark.parametrize(
    ("done", "error", "contradicted_since", "nonces", "rows", "overtaken", "ends"),
    [
        (True, None, None, (3, 4), 1, False, True),
        (True, None, None, (3, 5), 1, False, False),
        (True, None, None, (5, 3), 1, False, False),
        (False, None, None, (3, 4), 1, False, False),
        (True, UNREACHABLE, None, (3, 4), 1, False, False),
        (True, None, 0.0, (3, 4), 1, False, False),
        (True, None, None, (3, 4), 0, False, True),
        (False, None, None, (3, 9), 1, True, True),
        (False, None, None, (3, 9), 0, True, False),
        (True, UNREACHABLE, None, (3, 9), 1, True, False),
        (False, None, 0.0, (3, 9), 1, True, False),
    ],
)
def test_a_batch_ends_if_it_was_seen_and_is_decided_or_overtaken(
    monkeypatch: pytest.MonkeyPatch,
    done: bool,
    error: ServingError | None,
    contradicted_since: float | None,
    nonces: tuple[int, ...],
    rows: int,
    overtaken: bool,
    ends: bool,
) -> None:
    async def sighted(*_: object) -> None:
        pass

    journal: Any = Journal(overtaken=overtaken)
    follower: Any = SimpleNamespace(wallet=SimpleNamespace(final=FINAL))
    batch: Any = SimpleNamespace(rows=[None] * rows, transactions=[SimpleNamespace(nonce=one) for one in nonces])
    earlier = EarlierRuns(cast("Any", None), journal, follower, Report(1, "", ""), lambda *_: None)
    monkeypatch.setattr(earlier, "_sight_wallet", sighted)
    followed = Followed(batch, 0, 0, 0, done=done, error=error, contradicted_since=contradicted_since)
    earlier.followed = [followed]
    asyncio.run(earlier._end_batches(Head(9, 0, "0x9")))
    assert journal.done == ["finalised", *(["ended"] if ends else []), "finalised"]
    assert followed.done is (done or ends)


def row(user: str, *, accepted: bool) -> Any:
    return SimpleNamespace(user=SimpleNamespace(address=user), accepted=accepted)


def test_an_undecided_batch_holds_the_users_that_it_has_not_paid() -> None:
    batches: list[Any] = [
        SimpleNamespace(id=1, rows=[row("paid", accepted=True), row("pending", accepted=False)]),
        SimpleNamespace(id=2, rows=[row("decided", accepted=False)]),
        SimpleNamespace(id=3, rows=[row("unchecked", accepted=False)]),
        SimpleNamespace(id=4, rows=[row("not followed", accepted=False)]),
    ]
    journal: Any = SimpleNamespace(open_batches=lambda: batches)
    earlier = EarlierRuns(cast("Any", None), journal, cast("Any", None), Report(1, "", ""), lambda *_: None)
    earlier.followed = [
        Followed(batches[0], 0, 0, 0),
        Followed(batches[1], 0, 0, 0, done=True),
        Followed(batches[2], 0, 0, 0, done=True, error=UNREACHABLE),
    ]
    assert earlier.holds() == {"pending", "unchecked", "not followed"}


@pytest.mark.parametrize(("news", "counted"), [(True, 1), (False, 0)])
def test_only_a_batch_of_which_something_was_booked_counts_as_resumed(news: bool, counted: int) -> None:
    report = Report(1, "", "")
    earlier = EarlierRuns(cast("Any", None), cast("Any", None), cast("Any", None), report, lambda *_: None)
    earlier.note(Followed(cast("Any", SimpleNamespace(id=1)), 0, 0, 0, news=news, done=True))
    assert (report.taken_up, report.notes) == (counted, [])
