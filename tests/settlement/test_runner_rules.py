# SPDX-License-Identifier: Apache-2.0
"""A run's rules one by one: how much goes at once, in which order, and what is told about it."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from eth_utils.address import to_checksum_address

from serving_network.chains import LOCAL_CHAIN
from serving_network.clients.settlements import ROWS_AT_MOST, Outcome, SignedSettlements
from serving_network.contracts.models import Account, Status
from serving_network.errors import NodeUnreachable, RpcError, ServingError, TransactionPending
from serving_network.messages.typed_data import UserSettlement
from serving_network.messages.usage import Reject
from serving_network.money import describe
from serving_network.settlement import recording, runner, sending
from serving_network.settlement.chain import Landed, PastSettlement, TooMuchGas
from serving_network.settlement.following import BatchFailed
from serving_network.settlement.journal import open_journal
from serving_network.settlement.journal.records import Acceptance, Mined, SignedRow, Transaction
from serving_network.settlement.options import Options
from serving_network.settlement.planning import Wait
from serving_network.settlement.report import Report
from serving_network.settlement.runner import JournalOfGateway, NoService, Settlement, WrongSigner
from serving_network.store.opening import Identity, JournalOfAnother
from serving_network.usage_logs.reader import UsageLog
from serving_network.wallet.local import LocalTeeSigner
from tests.settlement.fake_chain import CONTRACT, GAS_PER_ROW, PROVIDER, TEE, FakeChain
from tests.settlement.new_journals import put_new_journal

pytestmark = pytest.mark.usefixtures("virtual_time")

USERS: list[str] = [to_checksum_address(number.to_bytes(2, "big") * 10) for number in range(1, 260)]
IDENTITY = Identity(31337, "0x", CONTRACT, PROVIDER)
CALM = Options(first_pause=0, patience=0, stuck_after=60, give_up_after=0.3)
Requests = list[tuple[str, str, int]]


class Run:
    """A chain, a directory, and everything that was told and asked on the way."""

    def __init__(self, directory: Path, *, batches: bool = False) -> None:
        self.chain = FakeChain(batches=batches)
        self.directory = directory
        self.told: list[tuple[str, int, int]] = []
        self.rejects: list[Reject] = []
        self.clock = 0.0
        put_new_journal(directory / "journal", IDENTITY)

    def settle(
        self, requests: Requests | str | None = None, options: Options = CALM, signer: LocalTeeSigner = TEE
    ) -> Report:
        path = self.directory / "usage.jsonl"
        if isinstance(requests, list):
            rows = [{"id": key, "user": user, "time": 1, "fee": fee} for key, user, fee in requests]
            requests = "".join(json.dumps(one) + "\n" for one in rows)
        if requests is not None:
            path.write_text(requests)
        with open_journal(self.directory / "journal", IDENTITY) as journal:
            run = Settlement(
                self.chain, journal, signer, options,
                reject=self.rejects.append, progress=lambda *told: self.told.append(told), clock=lambda: self.clock,
            )  # fmt: skip
            report = asyncio.run(run.run(None if requests is None else UsageLog(path, provider=PROVIDER)))
        assert report.fee == report.paid + report.unsettled
        return report

    def fund(self, count: int, amount: int = 100) -> list[str]:
        for user in USERS[:count]:
            self.chain.fund(user, amount)
        return USERS[:count]

    def query(self, query: str) -> list[tuple[Any, ...]]:
        """Rows of the journal's tables."""
        with open_journal(self.directory / "journal", IDENTITY) as journal:
            return journal._db.execute(query).fetchall()

    def states(self) -> list[str]:
        """The states of all settlements in the journal, in the order in which they were signed."""
        return [state for (state,) in self.query("SELECT state FROM settlement ORDER BY batch_id, position")]

    def rows_of_batches(self) -> list[int]:
        """How many settlements each batch in the journal has."""
        return [rows for (rows,) in self.query("SELECT count(*) FROM settlement GROUP BY batch_id ORDER BY batch_id")]

    def sizes(self) -> list[int]:
        """How many settlements each mined transaction carried."""
        mined = [sent for block in self.chain.blocks for sent, _ in block.transactions]
        return [len(sent.signed.settlements) for sent in mined if sent.signed is not None]


@pytest.fixture(params=[False, True], ids=["entries", "batch"])
def run(request: pytest.FixtureRequest, tmp_path: Path) -> Run:
    return Run(tmp_path, batches=request.param)


def of_each(users: Sequence[str], fee: int = 10) -> Requests:
    return [(f"r{place}", user, fee) for place, user in enumerate(users)]


# ------------------------------------------------------------------------------------------------- reading


def test_a_log_is_read_in_chunks_and_rejects_are_reported_in_order(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "CHUNK_ROWS", 3)
    user = run.fund(1, 10**6)[0]
    good = [json.dumps({"id": f"r{number}", "user": user, "time": 1, "fee": 1}) + "\n" for number in range(7)]
    lines = [good[0], "broken\n", good[1], good[0], good[2], "broken too\n", good[3], good[4], good[5], good[6]]
    report = run.settle("".join(lines))
    assert (report.new_requests, report.known_requests, report.rejected, report.paid) == (7, 0, 3, 7)
    assert [reject.line for reject in run.rejects] == [2, 4, 6]
    reading = [told for told in run.told if told[0] == "reading"]
    size = len("".join(lines))
    assert (len(reading), reading[:2]) == (3, [("reading", size, size)] * 2)
    again = run.settle("".join(lines))
    assert (again.new_requests, again.known_requests, again.rejected, again.paid) == (0, 0, 3, 0)
    assert again.continued_at == 11
    assert [reject.line for reject in run.rejects] == [2, 4, 6] * 2


def test_rejects_are_reported_chunk_by_chunk(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "CHUNK_ROWS", 3)
    report = run.settle("x\n" * 9)
    assert report.rejected == 9
    assert [reject.line for reject in run.rejects] == list(range(1, 10))
    assert [phase for phase, _, _ in run.told] == ["reading"] * 4


def test_a_chunk_is_recorded_as_soon_as_it_is_full(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "CHUNK_ROWS", 3)
    assert run.settle(of_each(USERS[:9])).new_requests == 9
    assert [phase for phase, _, _ in run.told].count("reading") == 4


def test_rejects_of_reader_and_journal_follow_the_order_of_the_log(run: Run) -> None:
    row = json.dumps({"id": "a", "user": USERS[0], "time": 1, "fee": 1}) + "\n"
    run.settle(row + row + "broken\n" + row + "broken\n")
    assert [reject.line for reject in run.rejects] == [2, 3, 4, 5]


def test_without_a_log_nothing_is_read(run: Run) -> None:
    run.fund(1)
    run.settle(of_each(USERS[:1]))
    run.told.clear()
    assert run.settle().new_requests == 0
    assert not [told for told in run.told if told[0] == "reading"]


def test_nothing_is_recorded_for_a_removed_service(run: Run) -> None:
    users = run.fund(1)
    service, run.chain.state.service = run.chain.state.service, None
    with pytest.raises(NoService) as caught:
        run.settle(of_each(users))
    assert caught.value.next_step == "serving service register OFFER"
    run.chain.state.service = service
    assert run.settle().fee == 0


def test_with_another_signer_everything_is_recorded_and_nothing_sent(run: Run) -> None:
    users = run.fund(1)
    with pytest.raises(WrongSigner):
        run.settle(of_each(users), signer=LocalTeeSigner(b"\x08" * 32))
    assert not run.chain.broadcasts
    assert run.settle().paid == 10


# -------------------------------------------------------------------------------------------- how much at once


@pytest.mark.parametrize(
    ("failure", "code"), [(NoService, 2), (JournalOfGateway, 2), (WrongSigner, 4), (BatchFailed, 6)]
)
def test_a_script_recognises_a_failure_by_its_exit_code(failure: type[ServingError], code: int) -> None:
    assert failure("").exit_code == code


def test_accounts_are_read_in_groups(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "ACCOUNTS_AT_ONCE", 2)
    users = run.fund(5)
    asked: list[int] = []
    accounts = run.chain.accounts

    async def counted(wanted: Sequence[str], block: int | None = None) -> dict[str, Account]:
        asked.append(len(wanted))
        return await accounts(wanted, block)

    run.chain.accounts = counted  # type: ignore[assignment]
    assert run.settle(of_each(users)).paid == 50
    assert asked[:3] == [2, 2, 1]
    looking = [told for told in run.told if told[0] == "looking up accounts"]
    assert looking == [("looking up accounts", start, 5) for start in (0, 2, 4)]


@pytest.mark.parametrize(("wanted", "entries", "batch"), [(None, 3, 5), (2, 2, 2), (99, 3, 5), (4, 3, 4)])
def test_a_transaction_has_as_many_rows_as_requested_and_allowed(
    run: Run, wanted: int | None, entries: int, batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "ROWS_AT_MOST", {"entries": 3, "batch": 5})
    users = run.fund(11)
    rows = batch if run.chain.state.service and run.chain.state.service.takes_batches else entries
    report = run.settle(of_each(users), replace(CALM, batch_rows=wanted))
    sizes = [rows] * (11 // rows) + [11 % rows] * (11 % rows > 0)
    assert run.sizes() == sizes
    assert (report.paid, report.batches, report.settlements) == (110, len(sizes), 11)


def test_rows_are_limited_to_what_the_contract_takes() -> None:
    assert ROWS_AT_MOST == {"entries": 50, "batch": 200}


@pytest.mark.parametrize("in_flight", [1, 3])
def test_no_more_transactions_are_in_flight_than_requested(run: Run, in_flight: int) -> None:
    users = run.fund(7)
    run.chain.mines_at_once = False
    most = 0

    def slow_node(method: str, when: str) -> None:
        nonlocal most
        if (method, when) == ("broadcast", "after"):
            most = max(most, len(run.chain.pool))
        if method == "landed":
            run.chain.mine()

    run.chain.hook = slow_node
    report = run.settle(of_each(users), replace(CALM, batch_rows=1, in_flight=in_flight))
    assert (report.paid, report.batches, most) == (70, 7, in_flight)
    settling = [told for told in run.told if told[0] == "settling"]
    assert settling[-1] == ("settling", 7, 7)
    assert [done for _, done, _ in settling] == ([1, 2, 3, 4, 5, 6, 7] if in_flight == 1 else [3, 6, 7])


def test_transactions_that_are_mined_one_by_one_are_all_followed(run: Run) -> None:
    users = run.fund(3)
    run.chain.mines_at_once = False
    looks = 0

    def mine_the_next(method: str, _: str) -> None:
        nonlocal looks
        looks += method == "landed"
        if method == "landed" and looks % 2:
            first, *rest = sorted(run.chain.pool.values(), key=lambda sent: sent.nonce)
            run.chain.pool = {first.hash: first}
            run.chain.mine()
            run.chain.pool = {sent.hash: sent for sent in rest}

    run.chain.hook = mine_the_next
    report = run.settle(of_each(users), replace(CALM, batch_rows=1, in_flight=2))
    assert (report.stopped_by, report.paid, report.batches) == (None, 30, 3)
    assert [line.wait for line in report.lines.values()] == [None] * 3
    assert [told for told in run.told if told[0] == "settling"] == [("settling", done, 3) for done in (1, 2, 3)]


def test_transactions_in_flight_never_share_a_nonce(run: Run) -> None:
    users = run.fund(4)
    run.chain.mines_at_once = False
    forgetful = run.chain.wallet_nonce

    async def latest_only() -> int:
        await forgetful()
        return run.chain.state.wallet_nonce

    run.chain.wallet_nonce = latest_only  # type: ignore[method-assign]
    run.settle(of_each(users), replace(CALM, batch_rows=1, in_flight=4))
    assert sorted(sent.nonce for sent in run.chain.pool.values()) == [0, 1, 2, 3]


def test_the_wallets_nonce_counts_if_it_is_ahead(run: Run) -> None:
    users = run.fund(2)
    run.chain.state.wallet_nonce = 41
    assert run.settle(of_each(users), replace(CALM, batch_rows=1)).paid == 20
    assert run.chain.state.wallet_nonce == 43


def test_a_batch_that_is_halved_keeps_its_order(run: Run) -> None:
    users = run.fund(5)
    requests = [(user, user, 50 - place) for place, user in enumerate(users)]
    report = run.settle(requests, replace(CALM, gas_limit=2 * GAS_PER_ROW))
    assert report.paid == sum(fee for _, _, fee in requests)
    carried = [sent.signed for block in run.chain.blocks for sent, _ in block.transactions]
    assert [[row.user for row in one.settlements] for one in carried if one] == [users[:2], users[2:3], users[3:]]


def test_a_single_settlement_that_needs_too_much_gas_ends_the_run(run: Run) -> None:
    report = run.settle(of_each(run.fund(3)), replace(CALM, gas_limit=GAS_PER_ROW - 1))
    assert isinstance(report.stopped_by, TooMuchGas)
    assert [line.wait for line in report.lines.values()] == [Wait.NOT_SENT] * 3
    assert not run.chain.broadcasts


# --------------------------------------------------------------------------------------------- what is at stake


@pytest.mark.parametrize(("clock", "unlocks_in", "leaving"), [(0, 100, 50), (0, 101, 0), (7, 107, 50), (7, 108, 0)])
def test_refunds_that_unlock_before_the_next_run_are_at_risk(
    run: Run, clock: int, unlocks_in: int, leaving: int
) -> None:
    (user,) = run.fund(1)
    run.chain.ask_back(user, 50, unlocks_in)
    run.clock = float(run.chain.now + clock) if clock else 0.0
    stake = run.settle(of_each([user]), replace(CALM, interval=100)).lines[user].stake
    assert stake is not None
    assert (stake.open, stake.balance, stake.leaving) == (10, 100, leaving)


def test_only_users_with_open_requests_have_a_line(run: Run) -> None:
    users = run.fund(3)
    report = run.settle([*of_each(users[:2]), ("free", users[2], 0)])
    assert set(report.lines) == set(users[:2])
    line = run.settle([*of_each(users[:2]), ("new", users[0], 4), ("newer", users[0], 5)]).lines[users[0]]
    assert (line.requests, line.fee, line.paid, line.expected, line.unsettled, line.wait) == (2, 9, 9, 9, 0, None)


# ----------------------------------------------------------------------------------------------------- sending


def test_a_user_who_would_not_pay_is_left_out_with_the_reason(run: Run) -> None:
    users = run.fund(4)
    preview = run.chain.preview
    asked: list[int] = []
    refused = {users[0]: Status.NO_TEE_SIGNER, users[1]: Status.PARTIAL, users[2]: Status.INVALID_NONCE}

    async def refusing(signed: SignedSettlements) -> list[Outcome]:
        asked.append(len(signed.settlements))
        told = await preview(signed)
        rows = zip(signed.settlements, told, strict=True)
        return [Outcome(refused[row.user], 0) if row.user in refused else outcome for row, outcome in rows]

    run.chain.preview = refusing  # type: ignore[method-assign]
    report = run.settle(of_each(users))
    assert [report.lines[user].wait for user in users] == [
        Wait.NOT_ACKNOWLEDGED,
        Wait.NO_MONEY,
        Wait.REFUSED,
        None,
    ]
    assert [report.lines[user].expected for user in users] == [0, 0, 0, 10]
    assert (asked, report.paid, run.sizes()) == ([4, 1], 10, [1])
    refused[users[3]] = Status.SUCCESS
    run.chain.broadcasts.clear()
    report = run.settle([("new", users[3], 1)])
    assert (report.lines[users[3]].wait, report.paid, run.chain.broadcasts) == (Wait.REFUSED, 0, [])


def test_a_journal_that_contradicts_itself_sends_nothing(run: Run) -> None:
    users = run.fund(1)
    run.settle(of_each(users), replace(CALM, dry_run=True))
    with open_journal(run.directory / "journal", IDENTITY) as journal:
        journal._db.execute("UPDATE user SET owed = '11'")
    report = run.settle()
    assert "not consistent" in str(report.stopped_by)
    assert (report.paid, run.chain.broadcasts) == (0, [])


@pytest.mark.parametrize("failure", [NodeUnreachable("gone"), TooMuchGas("too many rows")], ids=["node", "gas"])
def test_transactions_in_flight_are_followed_if_the_next_cannot_be_sent(run: Run, failure: ServingError) -> None:
    users = run.fund(5)
    calls = 0

    def out_of_reach(method: str, _: str) -> None:
        nonlocal calls
        calls += method == "prepare"
        if method == "prepare" and calls == 3:
            raise failure

    run.chain.hook = out_of_reach
    report = run.settle(of_each(users), replace(CALM, batch_rows=1))
    assert report.stopped_by is failure
    assert (report.paid, report.unsettled, report.batches) == (20, 30, 2)
    assert sorted(line.outcome for line in report.lines.values()) == ["not sent"] * 3 + ["settled"] * 2
    assert (calls, report.notes) == (3, []), "after a failure, nothing more is sent"


def test_a_batch_is_journalled_with_its_signatures_before_it_is_sent(run: Run) -> None:
    users = run.fund(2)
    run.chain.mine()

    def cut_off(method: str, when: str) -> None:
        if (method, when) == ("broadcast", "before"):
            raise NodeUnreachable("gone")

    run.chain.hook = cut_off
    report = run.settle(of_each(users))
    assert [report.lines[user].wait for user in users] == [Wait.IN_FLIGHT] * 2
    with open_journal(run.directory / "journal", IDENTITY) as journal:
        (batch,) = journal.open_batches()
    whole = run.chain.state.service is not None and run.chain.state.service.takes_batches
    assert (batch.form, batch.signer, batch.from_block) == ("batch" if whole else "entries", TEE.address, 1)
    assert [len(batch.signature), *(len(one.signature) for one in batch.rows)] == ([65, 0, 0] if whole else [0, 65, 65])
    assert [one.expected_paid for one in batch.rows] == [10, 10]


def test_a_dry_run_signs_nothing_and_follows_nothing(run: Run) -> None:
    users = run.fund(2)
    run.chain.mines_at_once = False
    run.settle(of_each(users[:1]))
    pool = dict(run.chain.pool)
    run.chain.broadcasts.clear()
    report = run.settle([("new", users[1], 5)], replace(CALM, dry_run=True))
    assert (report.taken_up, run.chain.broadcasts, run.chain.pool) == (0, [], pool)
    assert (report.lines[users[1]].expected, report.lines[users[1]].wait) == (5, Wait.NOT_SENT)


# ---------------------------------------------------------------------------------------------------- taking up


@pytest.mark.parametrize(
    ("chain_id", "behind", "refused"), [(LOCAL_CHAIN, 256, False), (LOCAL_CHAIN, 257, True), (16661, 1, True)]
)
def test_a_much_shorter_chain_is_refused_as_another(
    run: Run, monkeypatch: pytest.MonkeyPatch, chain_id: int, behind: int, refused: bool
) -> None:
    monkeypatch.setattr(run.chain, "chain_id", chain_id)
    users = run.fund(1)
    for _ in range(300):
        run.chain.mine()
    run.settle(of_each(users))
    run.chain.reorganise(behind)
    if not refused:
        report = run.settle()
        assert (report.taken_up, report.taken_up_paid, report.paid) == (1, 0, 10)
        return
    with pytest.raises(JournalOfAnother) as caught:
        run.settle()
    assert "--journal" in str(caught.value.next_step)


def test_booked_blocks_are_checked_back_to_a_final_one_on_the_chain(run: Run) -> None:
    (user,) = run.fund(1)
    options = replace(CALM, final_depth=20)
    for number in range(4):
        run.chain.mine()
        run.settle([(f"r{number}", user, 10)], options)
    booked = [2, 4, 6, 8]
    asked: list[int] = []
    block_hash = run.chain.block_hash

    async def noted(number: int) -> str | None:
        asked.append(number)
        return await block_hash(number)

    run.chain.block_hash = noted  # type: ignore[method-assign]
    assert run.settle(None, options).notes == []
    assert asked == booked[::-1]
    for _ in range(15):
        run.chain.mine()
    run.settle(None, options)  # block 4 is final now
    asked.clear()
    run.settle(None, options)
    assert asked[:3] == [8, 6, 4]
    assert 2 not in asked
    for _ in range(1000):
        run.chain.mine()
    run.settle(None, options)
    asked.clear()
    assert run.settle(None, options).notes == []
    assert asked == [8]


def test_batches_are_resumed_in_the_order_they_were_sent(run: Run) -> None:
    users = run.fund(3)
    run.chain.mines_at_once = False
    run.settle(of_each(users), replace(CALM, batch_rows=1, in_flight=3))
    run.chain.mine()
    run.told.clear()
    followed: list[int] = []
    landed = run.chain.landed

    async def noted(sent: Transaction, signed: SignedSettlements) -> Landed | None:
        followed.append(sent.nonce)
        return await landed(sent, signed)

    run.chain.landed = noted  # type: ignore[assignment]
    report = run.settle()
    assert (report.taken_up, report.taken_up_paid, report.paid, report.fee) == (3, 30, 0, 0)
    assert followed == [0, 1, 2]
    assert run.told[:3] == [("resuming", 0, 0)] * 3


def test_batches_are_resumed_in_the_order_of_their_nonces(run: Run) -> None:
    users = run.fund(2)
    run.chain.mines_at_once = False
    run.settle(of_each(users), replace(CALM, batch_rows=1, in_flight=2))
    run.chain.pool.clear()
    with open_journal(run.directory / "journal", IDENTITY) as journal:
        first, _ = journal.open_batches()
        journal.add_transaction(first, first.transactions[-1]._replace(hash="0xlater", nonce=7))
    asked: list[str] = []
    landed = run.chain.landed

    async def noted(sent: Transaction, signed: SignedSettlements) -> Landed | None:
        asked.append(signed.settlements[0].user)
        return await landed(sent, signed)

    run.chain.landed = noted  # type: ignore[assignment]
    with contextlib.suppress(TransactionPending):
        run.settle()
    assert asked[0] == users[1]


# -------------------------------------------------------------------------------------------- unknown settlements


def searched(run: Run) -> int | None:
    """The newest block up to which settlements were searched, as the journal says."""
    with open_journal(run.directory / "journal", IDENTITY) as journal:
        return journal.searched_block()


def past(user: str, block: int, transaction: str, nonce: int | None) -> PastSettlement:
    settlement = None if nonce is None else UserSettlement(user, 1, nonce, bytes(32))
    return PastSettlement(user, settlement, Acceptance(Outcome(Status.SUCCESS, 1), block, "0xb", transaction))


def test_a_user_with_a_settlement_that_is_not_in_the_journal_waits(run: Run) -> None:
    users = run.fund(4)
    run.settle(of_each(users))
    (ours,) = run.chain.broadcasts
    nonces = [run.chain.state.accounts[user].nonce for user in users]
    found = [
        past(USERS[9], 9, "0x1", 1),  # of a user who has no requests here
        past(users[0], 9, ours, None),
        past(users[1], 9, "0x2", nonces[1]),
        past(users[2], 7, "0x3", nonces[2] + 1),
        past(users[3], 8, "0x4", None),
    ]

    async def paid_since(*_: Any) -> list[PastSettlement]:
        return found

    run.chain.paid_since = paid_since  # type: ignore[assignment]
    for _ in range(10):
        run.chain.mine()
    report = run.settle([(f"new {user}", user, 1) for user in users])
    unknown = Wait.UNKNOWN_SETTLEMENT
    assert [report.lines[user].wait for user in users] == [None, None, unknown, unknown]
    assert searched(run) == 6, "these blocks are searched again"


def test_blocks_that_were_searched_are_not_searched_again(run: Run) -> None:
    run.fund(1)
    for _ in range(30):
        run.chain.mine()
    run.settle([], replace(CALM, dry_run=True))
    assert searched(run) is None, "a dry run changes nothing"
    run.settle([])
    assert searched(run) == 30
    run.settle([], replace(CALM, final_depth=20))
    assert searched(run) == 30


def test_a_node_without_events_is_reported_and_the_run_goes_on(run: Run) -> None:
    users = run.fund(1)

    def refuse(method: str, _: str) -> None:
        if method == "paid_since":
            raise RpcError(-32000, "history has been pruned")

    run.chain.hook = refuse
    report = run.settle(of_each(users))
    assert report.paid == 10
    assert [note.partition(":")[0] for note in report.notes] == ["The node did not return the events since block 0"]


# ----------------------------------------------------------------------------------------------------- results


def test_gas_is_shared_among_the_users_of_a_batch(run: Run) -> None:
    users = run.fund(3)
    report = run.settle(of_each(users))
    gas = 21_000 + 3 * GAS_PER_ROW
    assert (report.gas_used, report.gas_cost) == (gas, gas)
    assert [line.gas for line in report.lines.values()] == [gas // 3] * 3
    assert [line.status for line in report.lines.values()] == [Status.SUCCESS] * 3
    assert report.notes == []


BETWEEN: list[tuple[Status, int, dict[str, Any] | None, str]] = [
    (Status.PARTIAL, 4, {"balance": 0}, "coins left the account"),
    (Status.PARTIAL, 7, {"balance": 0}, "coins were added to the account"),
    (Status.SUCCESS, 10, {}, "coins were added to the account"),
    (Status.NO_TEE_SIGNER, 0, {"acknowledged": False}, "revoked the acknowledgement"),
    (Status.NO_TEE_SIGNER, 0, {}, "the owner revoked the confirmation"),
    (Status.NO_TEE_SIGNER, 0, None, "the owner revoked the confirmation"),
    (Status.INVALID_NONCE, 0, {}, "another settlement with a higher nonce"),
    (Status.PROVIDER_MISMATCH, 0, {}, "the service was removed"),
    (Status.INVALID_SIGNATURE, 0, {}, "the TEE signer was changed or the account was deleted"),
]


@pytest.mark.parametrize(("status", "paid", "account", "why"), BETWEEN)
def test_a_change_between_preview_and_result_is_reported(
    run: Run, status: Status, paid: int, account: dict[str, Any] | None, why: str
) -> None:
    (user,) = run.fund(1, 5)

    async def landed(sent: Transaction, signed: SignedSettlements) -> Landed | None:
        (row,) = signed.settlements
        nonce: dict[str, Any] = {"nonce": row.nonce} if status.paid else {}
        if account is None:
            run.chain.state.accounts.pop(user, None)
        else:
            run.chain.state.accounts[user] = replace(untouched, **account, **nonce)
        return Landed(True, Mined(1, run.chain.blocks[1].hash, 30, 40), (Outcome(status, paid),), sent.hash)

    untouched = run.chain.state.accounts[user]
    run.chain.landed = landed  # type: ignore[assignment]
    run.chain.search = nowhere  # type: ignore[assignment]
    report = run.settle(of_each([user]))
    assert report.stopped_by is None
    (note,) = report.notes
    assert note.startswith(f"{user}: the preview showed 5 wei, but the contract paid {describe(paid)}")
    assert why in note
    assert (report.lines[user].status, report.lines[user].paid, report.lines[user].unsettled) == (
        status,
        paid,
        10 - paid,
    )


@pytest.mark.parametrize(("accepted", "notes"), [(0, 1), (6, 1), (7, 0), (8, 0)])
def test_a_settlement_refused_after_one_of_the_journal_is_no_surprise(
    run: Run, monkeypatch: pytest.MonkeyPatch, accepted: int, notes: int
) -> None:
    """Its nonce is 7. Another one with this nonce or a higher one was accepted, unless the highest is below."""
    (user,) = run.fund(1)
    run.settle(of_each([user]), replace(CALM, dry_run=True))
    with open_journal(run.directory / "journal", IDENTITY) as journal:
        (state,) = journal.users()
        settlement = Settlement(run.chain, journal, TEE, CALM)
        monkeypatch.setattr(journal, "accepted_nonce", lambda _: accepted)
        row = SignedRow(state, UserSettlement(user, 10, 7, bytes(32)), b"", 1, 10)
        settlement._add_result(row, Outcome(Status.INVALID_NONCE, 0), 0, None)
        assert len(settlement._report.notes) == notes


def test_a_failed_batch_paid_nothing_and_is_reported(run: Run) -> None:
    users = run.fund(2)
    whole = Mined(1, "", 77, 88)

    async def landed(sent: Transaction, _: SignedSettlements) -> Landed | None:
        return Landed(False, replace_hash(whole, run.chain.blocks[1].hash), (), sent.hash)

    run.chain.preview = paying  # type: ignore[method-assign]
    run.chain._apply = lambda *_: []  # type: ignore[method-assign]
    run.chain.landed = landed  # type: ignore[assignment]
    run.chain.search = nowhere  # type: ignore[assignment]
    report = run.settle(of_each(users))
    assert isinstance(report.stopped_by, BatchFailed)
    assert "serving doctor" in str(report.stopped_by.next_step)
    assert report.notes == ["A batch of 1 settlement was mined but failed: nothing was paid."]
    assert [report.lines[user].wait for user in users] == [Wait.NOT_SENT] * 2
    assert (report.paid, report.gas_used, report.gas_cost, report.batches) == (0, 3 * 77, 3 * 88, 0)
    assert run.rows_of_batches() == [2, 1, 1], "the batch is sent again as two"
    assert run.states() == ["signed"] * 4


async def nowhere(*_: Any) -> list[Landed]:
    return []


async def paying(signed: SignedSettlements) -> list[Outcome]:
    return [Outcome(Status.SUCCESS, row.total_fee) for row in signed.settlements]


def replace_hash(mined: Mined, block_hash: str) -> Mined:
    return mined._replace(block_hash=block_hash)


def test_a_batch_that_takes_too_long_is_reported_and_left_to_the_next_run(run: Run) -> None:
    users = run.fund(2)
    run.chain.mines_at_once = False
    report = run.settle(of_each(users))
    assert isinstance(report.stopped_by, TransactionPending)
    assert report.stopped_by.transaction == run.chain.broadcasts[0]
    with contextlib.suppress(ServingError):
        run.settle()
    run.chain.mine()
    assert run.settle().taken_up_paid == 20


def test_a_run_needs_no_options(tmp_path: Path) -> None:
    chain = FakeChain()
    with open_journal(tmp_path / "journal", IDENTITY) as journal:
        assert asyncio.run(Settlement(chain, journal, TEE).run(None)).fee == 0
