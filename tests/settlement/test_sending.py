# SPDX-License-Identifier: Apache-2.0
"""What is signed and sent when the chain changes between the start of a run and its transactions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from serving_network.clients.settlements import Outcome, SignedSettlements
from serving_network.errors import NodeFailure
from serving_network.settlement import sending
from serving_network.settlement.nonces import Turn, next_turn
from serving_network.settlement.planning import Wait
from serving_network.settlement.wallet_nonces import UnknownTransactions
from tests.settlement.fake_chain import FakeChain, Pending
from tests.settlement.scene import ALICE, BOB, CAROL, OPTIONS, Scene
from tests.settlement.virtual_time import VirtualTime

pytestmark = pytest.mark.usefixtures("virtual_time")

USERS = [ALICE, BOB, CAROL]
FOREIGN = Pending("foreign", 0, 1, None)
"""A transaction of the wallet that is not in the journal."""


@pytest.fixture(params=[False, True], ids=["entries", "batch"])
def scene(request: pytest.FixtureRequest, tmp_path: Path) -> Scene:
    """Three users, each with an account and one open request."""
    scene = Scene(tmp_path, batches=request.param)
    for user in USERS:
        scene.chain.fund(user, 100)
        scene.record(user, 10)
    return scene


def at_the_second_block(chain: FakeChain, change: Callable[[], None]) -> None:
    """Make a change after the run looked up all users, and before it signs anything."""
    asked = 0

    def count_blocks(method: str, _: str) -> None:
        nonlocal asked
        asked += method == "head"
        if (method, asked) == ("head", 2):
            change()

    chain.hook = count_blocks


def note_previews(chain: FakeChain, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The users of each preview."""
    previewed: list[list[str]] = []
    preview = chain.preview

    async def noted(signed: SignedSettlements) -> list[Outcome]:
        previewed.append([row.user for row in signed.settlements])
        return await preview(signed)

    monkeypatch.setattr(chain, "preview", noted)
    return previewed


def test_an_earlier_batch_that_is_mined_during_a_run_counts_once(scene: Scene) -> None:
    scene.chain.mines_at_once = False
    scene.record(ALICE, 5)
    scene.settle(replace(OPTIONS, minimum_fee=11))
    (earlier,) = scene.chain.pool.values()
    looks = 0

    def mine_one_after_the_other(method: str, _: str) -> None:
        nonlocal looks
        looks += method == "landed"
        if method == "landed" and looks in (5, 10):
            later = [one for one in scene.chain.pool.values() if one != earlier]
            if looks == 5:
                scene.lose()
                scene.bring_back(earlier)
            scene.mine()
            scene.bring_back(*later)

    scene.chain.hook = mine_one_after_the_other
    report = scene.settle(replace(OPTIONS, give_up_after=60, patience=60))
    assert (report.stopped_by, report.taken_up, report.paid, report.notes) == (None, 1, 35, [])


def test_a_nonce_that_was_used_since_the_start_of_the_run_is_noticed(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    previewed = note_previews(scene.chain, monkeypatch)

    def settle_elsewhere() -> None:
        for user in USERS:
            scene.chain.fund(user, 0, nonce=1)

    at_the_second_block(scene.chain, settle_elsewhere)
    report = scene.settle()
    assert [report.lines[user].wait for user in USERS] == [Wait.UNKNOWN_SETTLEMENT] * 3
    assert (previewed, scene.chain.broadcasts) == ([], [])


def test_an_account_that_was_closed_since_the_start_of_the_run_is_noticed(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    previewed = note_previews(scene.chain, monkeypatch)
    at_the_second_block(scene.chain, lambda: scene.chain.leave(BOB))
    report = scene.settle()
    assert [report.lines[user].wait for user in USERS] == [None, Wait.NO_ACCOUNT, None]
    assert previewed == [[ALICE, CAROL]]


def test_a_limit_below_the_first_request_signs_nothing(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    def limited(now: float, user: Any, *rest: Any) -> Turn | Wait:
        found = next_turn(now, user, *rest)
        return found._replace(limit=9) if user.address == BOB and isinstance(found, Turn) else found

    monkeypatch.setattr(sending, "next_turn", limited)
    report = scene.settle()
    assert [report.lines[user].wait for user in USERS] == [None, Wait.NOT_FINAL, None]
    assert (len(scene.signed(BOB)), report.paid) == (0, 20)


@pytest.mark.parametrize("mined_after", [0.5, None], ids=["mined in time", "never mined"])
def test_an_unknown_transaction_of_the_wallet_is_waited_for(
    scene: Scene, virtual_time: VirtualTime, monkeypatch: pytest.MonkeyPatch, mined_after: float | None
) -> None:
    virtual_time.now = started = 100.0
    scene.chain.pool = {FOREIGN.hash: FOREIGN}
    scene.chain.mines_at_once = False
    sleep = virtual_time.sleep

    async def mining(seconds: float) -> None:
        await sleep(seconds)
        if mined_after is not None and virtual_time.now >= started + mined_after:
            scene.chain.mine()
            scene.chain.mines_at_once = True

    monkeypatch.setattr(virtual_time, "sleep", mining)
    report = scene.settle(replace(OPTIONS, patience=1, first_pause=0.25))
    if mined_after is None:
        assert isinstance(report.stopped_by, UnknownTransactions)
        assert [report.lines[user].wait for user in USERS] == [Wait.NOT_SENT] * 3
        assert virtual_time.now == started + 1
    else:
        assert (report.stopped_by, report.paid) == (None, 30)
        assert virtual_time.now == started + mined_after


def test_a_dry_run_does_not_wait_for_unknown_transactions(scene: Scene) -> None:
    scene.chain.pool = {FOREIGN.hash: FOREIGN}
    report = scene.settle(replace(OPTIONS, dry_run=True))
    assert (report.stopped_by, [report.lines[user].expected for user in USERS]) == (None, [10] * 3)


@pytest.mark.parametrize("times", [1, 5])
def test_a_batch_is_signed_again_while_the_chain_is_reorganised(scene: Scene, times: int) -> None:
    signed = 0

    def reorganise(method: str, _: str) -> None:
        nonlocal signed
        signed += method == "prepare"
        if method == "prepare" and signed <= times:
            scene.chain.blocks[-1].hash = f"0x{signed:064x}"

    scene.chain.hook = reorganise
    report = scene.settle()
    if times == 1:
        assert (report.stopped_by, report.paid, signed) == (None, 30, 2)
    else:
        assert isinstance(report.stopped_by, NodeFailure)
        assert str(report.stopped_by).startswith("The chain was reorganised 5 times while a batch was being signed.")
        assert (report.paid, signed, scene.chain.broadcasts) == (0, 5, [])
        assert [report.lines[user].wait for user in USERS] == [Wait.NOT_SENT] * 3
