# SPDX-License-Identifier: Apache-2.0
"""What an earlier run sent, taken up by the next: it holds its own users, and nothing and nobody else."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import pytest

from serving_network.clients.settlements import Disagreement, SignedSettlements
from serving_network.errors import ASK_ANOTHER_NODE, NodeUnreachable, TransactionFailure, TransactionPending
from serving_network.settlement.following import Followed, Follower
from serving_network.settlement.journal.records import Transaction
from serving_network.settlement.planning import Wait
from tests.settlement.scene import ALICE, BOB, CAROL, FINAL, OPTIONS, Scene
from tests.settlement.virtual_time import VirtualTime

pytestmark = pytest.mark.usefixtures("virtual_time")

Prepare = Callable[[Scene], None]


def new_scene(directory: Path, *, batches: bool) -> Scene:
    """A run has sent a batch for Alice and one for Carol, and neither is mined. Bob has not used anything yet."""
    directory.mkdir()
    scene = Scene(directory, batches=batches)
    for user in (ALICE, BOB, CAROL):
        scene.chain.fund(user, 100)
    scene.record(ALICE, 20)
    scene.record(CAROL, 10)
    scene.chain.mines_at_once = False
    scene.settle(replace(OPTIONS, batch_rows=1))
    assert [len(scene.signed(user)) for user in (ALICE, CAROL)] == [1, 1]
    return scene


def waits(scene: Scene) -> None:
    """Nothing is mined."""
    scene.chain.least_fee = 4


def is_mined(scene: Scene) -> None:
    """Both are mined."""
    scene.mine()


def lost(scene: Scene) -> None:
    """Something else took both nonces."""
    scene.lose()
    scene.chain.take_nonce()
    scene.chain.take_nonce()


def unshown(scene: Scene) -> None:
    """Both are mined, and the node shows neither of them."""
    scene.chain.hidden = set(scene.chain.pool)
    scene.mine()


def refused_after_another(scene: Scene) -> None:
    """Both are refused, and the accounts have their nonces: another program settled with the same ones."""
    signed = [sent.signed for sent in scene.chain.pool.values() if sent.signed is not None]
    for user in (row for one in signed for row in one.settlements):
        account = scene.chain.state.accounts[user.user]
        scene.chain.state.accounts[user.user] = replace(account, nonce=user.nonce)
    scene.mine()


CALLS: list[tuple[Prepare, set[str]]] = [
    (waits, {"mined_wallet_nonce", "landed", "wallet_nonce", "replace", "broadcast"}),
    (is_mined, {"mined_wallet_nonce", "landed", "head", "accounts"}),
    (unshown, {"mined_wallet_nonce", "landed", "head", "accounts", "search"}),
    (
        lost,
        {
            "mined_wallet_nonce", "landed", "search", "head", "wallet_nonce_at", "wallet_nonce", "calls_since",
            "accounts", "preview", "prepare", "block_hash", "broadcast",
        },
    ),
    (refused_after_another, {"mined_wallet_nonce", "landed", "head", "accounts", "past_settlements"}),
]  # fmt: skip


@pytest.mark.parametrize("batches", [False, True], ids=["entries", "batch"])
@pytest.mark.parametrize(("prepare", "calls"), CALLS, ids=[prepare.__name__ for prepare, _ in CALLS])
def test_an_error_at_any_call_for_an_earlier_batch_holds_its_users_and_nobody_else(
    tmp_path: Path, prepare: Prepare, calls: set[str], batches: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before, an earlier batch that could not be followed ended the run: no row was read, and nobody was settled."""
    looking: list[int] = []
    look = Follower.look

    async def noted(follower: Follower, followed: Followed) -> None:
        looking.append(followed.batch.id)
        await look(follower, followed)
        looking.pop()

    monkeypatch.setattr(Follower, "look", noted)
    options = replace(OPTIONS, max_gas_price=10**300, stuck_after=0, batch_rows=1)
    seen: set[str] = set()
    begun = new_scene(tmp_path / "run", batches=batches)
    shutil.copy(begun.directory / "journal", tmp_path / "copy")
    for failing in (None, *sorted(calls)):
        scene = deepcopy(begun)
        shutil.copy(tmp_path / "copy", scene.directory / "journal")
        prepare(scene)
        scene.record(BOB, 5)
        struck = 0

        def strike(method: str, when: str, failing: str | None = failing) -> None:
            nonlocal struck
            if looking == [1] and when == "before":
                seen.add(method)
                if method == failing:
                    struck += 1
                    raise NodeUnreachable("The node does not answer.", cause="Why.", next_step="What to do.")

        scene.chain.hook = strike
        scene.chain.mines_at_once = prepare is not waits
        report = scene.settle(options)
        if failing is None:
            continue
        assert struck, f"{failing} was not asked"
        assert report.new_requests == 1
        noted_errors = [note for note in report.notes if note.startswith("Batch 1 of an earlier run is still waiting:")]
        assert noted_errors == [
            "Batch 1 of an earlier run is still waiting: The node does not answer. Why. What to do."
        ]
        line = report.lines[ALICE]
        assert (line.wait, line.paid) == (Wait.IN_FLIGHT, 0)
        assert len(scene.signed(ALICE)) == 1
        if prepare is waits or (prepare, failing) == (lost, "broadcast"):
            # Bob's transaction cannot be mined before those of the wallet with lower nonces.
            assert isinstance(report.stopped_by, TransactionPending)
            assert (report.lines[BOB].wait, len(scene.signed(BOB))) == (Wait.IN_FLIGHT, 1)
        else:
            assert (report.stopped_by, report.lines[BOB].paid) == (None, 5), failing
        if prepare in (is_mined, unshown):
            assert CAROL not in report.lines or report.lines[CAROL].paid == 10
        scene.chain.hook = lambda *_: None
        scene.chain.hidden, scene.chain.least_fee, scene.chain.mines_at_once = set(), 1, True
        scene.mine()
        for _ in range(3):
            scene.settle(options)
            scene.mine(FINAL)
        if prepare is not refused_after_another:
            assert [scene.paid(user) for user in (ALICE, BOB, CAROL)] == [20, 5, 10]
    assert seen == calls


@pytest.fixture(params=[False, True], ids=["entries", "batch"])
def scene(request: pytest.FixtureRequest, tmp_path: Path) -> Scene:
    return new_scene(tmp_path / "run", batches=request.param)


def test_new_requests_of_a_held_user_are_recorded_and_wait(scene: Scene) -> None:
    scene.record(ALICE, 3)
    scene.record(BOB, 5)
    scene.lose()
    scene.chain.mines_at_once = True
    scene.chain.hook = hold_back(scene)
    report = scene.settle()
    assert report.new_requests == 2
    assert (report.lines[ALICE].wait, report.lines[ALICE].unsettled) == (Wait.IN_FLIGHT, 23)
    assert [len(scene.signed(user)) for user in (ALICE, BOB)] == [1, 1]


def hold_back(scene: Scene) -> Callable[[str, str], None]:
    """Let nothing be mined."""

    def hold(method: str, _: str) -> None:
        if method == "broadcast":
            scene.chain.mines_at_once = False

    return hold


def test_a_run_with_nothing_else_to_do_ends_within_its_patience(scene: Scene, virtual_time: VirtualTime) -> None:
    started = virtual_time.now
    report = scene.settle(replace(OPTIONS, patience=0.3, give_up_after=600, first_pause=0.05))
    assert 0.3 <= virtual_time.now - started < 20
    assert report.stopped_by is None
    assert [report.lines[user].wait for user in (ALICE, CAROL)] == [Wait.IN_FLIGHT] * 2
    hashes = [sent.hash for sent in scene.chain.pool.values()]
    assert report.notes == [
        f"Batch {number} of an earlier run is still waiting for transaction {hashes[number - 1]}: run again, or"
        " cancel it with serving settlement cancel."
        for number in (1, 2)
    ]


def when_asked_often(step: Callable[[], None]) -> Callable[[str, str], None]:
    """Take this step at the ninth look at an earlier batch."""
    asked = 0

    def hook(method: str, when: str) -> None:
        nonlocal asked
        if (method, when) == ("landed", "before"):
            asked += 1
            if asked == 9:
                step()

    return hook


PATIENT = replace(OPTIONS, patience=60, give_up_after=600, first_pause=0.05)


def test_a_run_does_not_wait_for_an_earlier_batch_mined_meanwhile(scene: Scene, virtual_time: VirtualTime) -> None:
    scene.chain.hook = when_asked_often(scene.mine)
    started = virtual_time.now
    report = scene.settle(PATIENT)
    assert virtual_time.now - started < 30
    assert (report.taken_up, report.taken_up_paid, report.paid, report.unsettled, report.notes) == (2, 0, 30, 0, [])


def test_what_a_held_user_owes_beyond_the_earlier_batch_is_settled_in_the_same_run(scene: Scene) -> None:
    def mine_from_now_on() -> None:
        scene.mine()
        scene.chain.mines_at_once = True

    scene.record(ALICE, 3)
    scene.chain.hook = when_asked_often(mine_from_now_on)
    report = scene.settle(PATIENT)
    line = report.lines[ALICE]
    assert (line.paid, line.unsettled, line.wait) == (23, 0, None)
    assert (report.unsettled, report.stopped_by, report.notes) == (0, None, [])
    assert [scene.paid(user) for user in (ALICE, BOB, CAROL)] == [23, 0, 10]


def test_a_user_of_two_earlier_batches_is_settled_once_more(scene: Scene) -> None:
    """The first was refused in a block that a reorganisation undoes, so both are pending, and mined at once."""
    chain = scene.chain
    account = chain.state.accounts[ALICE]
    chain.state.accounts[ALICE] = replace(account, acknowledged=False)
    scene.mine()
    assert scene.settle().lines[ALICE].wait is Wait.NOT_ACKNOWLEDGED
    chain.state.accounts[ALICE] = account
    scene.settle()
    chain.reorganise(1)
    chain.state.accounts[ALICE] = account
    assert len(chain.pool) == 3
    scene.record(ALICE, 3)
    chain.hook = when_asked_often(scene.mine)
    report = scene.settle(PATIENT)
    scene.mine()
    assert len(scene.signed(ALICE)) == 3
    scene.settle()
    assert (scene.paid(ALICE), report.lines[ALICE].paid) == (23, 20)


def test_what_is_left_below_the_minimum_waits(scene: Scene) -> None:
    scene.record(ALICE, 3)
    scene.chain.hook = when_asked_often(scene.mine)
    report = scene.settle(replace(PATIENT, minimum_fee=4))
    line = report.lines[ALICE]
    assert (line.paid, line.unsettled, line.wait) == (20, 3, Wait.UNDER_MINIMUM)


def test_nothing_more_is_sent_after_a_failure(scene: Scene) -> None:
    """Bob's transaction cannot be sent; then Alice's earlier batch is mined."""

    def hook(method: str, when: str) -> None:
        if (method, when) == ("prepare", "before"):
            raise TransactionFailure("The wallet has no gas.", cause="Why.", next_step="What to do.")
        asked_often(method, when)

    asked_often = when_asked_often(scene.mine)
    scene.record(ALICE, 3)
    scene.record(BOB, 5)
    scene.chain.hook = hook
    report = scene.settle(PATIENT)
    assert isinstance(report.stopped_by, TransactionFailure)
    line = report.lines[ALICE]
    assert (line.paid, line.unsettled, line.wait) == (20, 3, Wait.NOT_SENT)
    assert len(scene.signed(ALICE)) == 1


def test_a_batch_that_is_booked_in_part_is_not_resumed_yet(scene: Scene) -> None:
    """Alice's first transaction fails, her second one is pending. Carol is paid."""
    chain = scene.chain
    first, _ = sorted(chain.pool.values(), key=lambda sent: sent.nonce)
    second = chain._make(first.signed, 2, 20_000, 1)
    with scene.journal() as journal:
        journal.add_transaction(journal.batch(1), second)
    chain.reverting = {first.hash}
    scene.mine()
    chain.least_fee = 4
    report = scene.settle()
    assert (report.taken_up, scene.paid(ALICE), scene.paid(CAROL)) == (1, 0, 10)
    assert [note.partition(":")[0] for note in report.notes] == [
        f"Batch 1 of an earlier run is still waiting for transaction {second.hash}"
    ]


def test_the_report_names_the_fee_that_an_earlier_batch_needs(scene: Scene) -> None:
    async def at_the_cap(_: SignedSettlements, stuck: Transaction, gas_price_cap: int) -> Transaction:
        raise TransactionFailure(
            "A transaction is stuck at 1 wei per gas.",
            cause=f"Replacing it needs {2 * stuck.max_fee_per_gas} wei per gas, the cap is {gas_price_cap} wei.",
            next_step="Wait, or run again with --max-fee '2 wei' or more.",
        )

    scene.chain.replace = at_the_cap  # type: ignore[assignment]
    report = scene.settle(replace(OPTIONS, stuck_after=0, max_gas_price=1))
    assert report.notes == [
        f"Batch {number} of an earlier run is still waiting: A transaction is stuck at 1 wei per gas. Replacing it"
        " needs 2 wei per gas, the cap is 1 wei. Wait, or run again with --max-fee '2 wei' or more."
        for number in (1, 2)
    ]


def test_a_contradiction_about_an_earlier_batch_is_a_note(scene: Scene) -> None:
    async def lie(*_: object) -> None:
        raise Disagreement("The node contradicts itself.")

    scene.chain.landed = lie  # type: ignore[assignment]
    scene.record(BOB, 5)
    report = scene.settle(replace(OPTIONS, dry_run=False))
    assert report.notes[:2] == [
        f"Batch {one} of an earlier run is still waiting: The node contradicts itself. {ASK_ANOTHER_NODE}"
        for one in (1, 2)
    ]
    assert report.lines[ALICE].wait is Wait.IN_FLIGHT
