# SPDX-License-Identifier: Apache-2.0
"""A whole run, and everything that can happen to it on the way."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from eth_utils.address import to_checksum_address

from serving_network.clients.settlements import Disagreement, Outcome, SignedSettlements
from serving_network.contracts.models import Status
from serving_network.errors import NodeUnreachable, TransactionPending
from serving_network.messages.typed_data import UserSettlement
from serving_network.messages.usage import Reject
from serving_network.settlement.chain import Landed
from serving_network.settlement.journal import open_journal
from serving_network.settlement.journal.records import Acceptance, Transaction
from serving_network.settlement.options import Options
from serving_network.settlement.planning import Wait
from serving_network.settlement.report import Report
from serving_network.settlement.runner import NoService, Settlement, WrongSigner
from serving_network.store.opening import Identity, JournalOfAnother
from serving_network.usage_logs.reader import UsageLog
from serving_network.wallet.local import LocalTeeSigner
from tests.settlement.fake_chain import CONTRACT, PROVIDER, TEE, FakeChain

pytestmark = pytest.mark.usefixtures("virtual_time")

USERS: list[str] = [to_checksum_address(bytes([number]) * 20) for number in range(1, 8)]
FAST = Options(first_pause=0, patience=0, stuck_after=0, give_up_after=0.5)
CALM = replace(FAST, stuck_after=60)
COIN = 10**18


def write_log(directory: Path, requests: list[tuple[str, str, int]], name: str = "usage.jsonl") -> Path:
    """A log of (request id, user, fee in wei)."""
    path = directory / name
    lines = [json.dumps({"id": key, "user": user, "time": 1, "fee": fee}) + "\n" for key, user, fee in requests]
    path.write_text("".join(lines))
    return path


def journal_at(path: Path) -> Any:
    return open_journal(path, Identity(31337, "0x", CONTRACT, PROVIDER))


def settle(
    chain: FakeChain,
    directory: Path,
    requests: list[tuple[str, str, int]] | None = None,
    options: Options = CALM,
    signer: LocalTeeSigner = TEE,
    rejects: list[Reject] | None = None,
) -> Report:
    log = None if requests is None else UsageLog(write_log(directory, requests), provider=PROVIDER)
    with journal_at(directory / "journal") as journal:
        run = Settlement(
            chain,
            journal,
            signer,
            options,
            reject=(rejects if rejects is not None else []).append,
            clock=lambda: chain.now,
        )
        report = asyncio.run(run.run(log))
    assert report.fee == report.paid + report.unsettled
    return report


def line(report: Report, user: str) -> Any:
    return report.lines[user]


@pytest.fixture(params=[False, True], ids=["entries", "batch"])
def chain(request: pytest.FixtureRequest) -> FakeChain:
    return FakeChain(batches=request.param)


def test_a_log_becomes_a_payment_to_the_wallet(chain: FakeChain, tmp_path: Path) -> None:
    for user in USERS[:3]:
        chain.fund(user, 100)
    report = settle(
        chain, tmp_path, [("a", USERS[0], 10), ("b", USERS[1], 20), ("c", USERS[0], 30), ("d", USERS[2], 100)]
    )
    assert (report.fee, report.paid, report.unsettled, report.batches, report.new_requests) == (160, 160, 0, 1, 4)
    assert chain.state.wallet == 160
    assert {user: account.balance for user, account in chain.state.accounts.items()} == dict(
        zip(USERS, [60, 80, 0], strict=False)
    )
    assert [line(report, user).outcome for user in USERS[:3]] == ["settled"] * 3
    json.dumps(report.as_dict())


def test_tokens_are_priced_by_the_service(chain: FakeChain, tmp_path: Path) -> None:
    chain.fund(USERS[0], 10**9)
    path = tmp_path / "usage.csv"
    path.write_text(f"id,user,time,input_tokens,output_tokens\na,{USERS[0]},1,7,11\n")
    with journal_at(tmp_path / "journal") as journal:
        report = asyncio.run(Settlement(chain, journal, TEE, CALM).run(UsageLog(path)))
    assert report.paid == 7 * 1000 + 11 * 3000 == chain.state.wallet
    assert (line(report, USERS[0]).input_tokens, line(report, USERS[0]).output_tokens) == (7, 11)


def test_the_same_log_again_pays_nothing(chain: FakeChain, tmp_path: Path) -> None:
    chain.fund(USERS[0], 100)
    requests = [("a", USERS[0], 10), ("b", USERS[0], 20), ("a", USERS[0], 10)]
    rejects: list[Reject] = []
    assert settle(chain, tmp_path, requests, rejects=rejects).rejected == 1
    report = settle(chain, tmp_path, requests, rejects=rejects)
    assert (report.new_requests, report.known_requests, report.rejected, report.paid) == (0, 0, 1, 0)
    assert report.continued_at == 4
    assert [reject.line for reject in rejects] == [3, 3]
    assert chain.state.wallet == 30
    assert settle(chain, tmp_path, [*requests, ("c", USERS[0], 1)]).paid == 1


def fund_later(chain: FakeChain, user: str) -> None:
    chain.fund(user, 1000)


def acknowledge(chain: FakeChain, user: str) -> None:
    chain.fund(user, 1000, acknowledged=True)


DEAD_ENDS: list[tuple[Wait, Callable[[FakeChain], None], Options]] = [
    (Wait.NO_ACCOUNT, lambda _: None, CALM),
    (Wait.NOT_ACKNOWLEDGED, lambda chain: chain.fund(USERS[0], 500, acknowledged=False), CALM),
    (Wait.NO_MONEY, lambda chain: chain.fund(USERS[0], 0), CALM),
    (Wait.UNDER_MINIMUM, lambda chain: chain.fund(USERS[0], 500), replace(CALM, minimum_fee=101)),
    (Wait.OVER_CAP, lambda chain: chain.fund(USERS[0], 500), replace(CALM, max_user_fee=99)),
]


@pytest.mark.parametrize(("wait", "prepare", "options"), DEAD_ENDS, ids=lambda value: getattr(value, "name", ""))
def test_a_run_that_cannot_settle_keeps_the_records(
    chain: FakeChain, tmp_path: Path, wait: Wait, prepare: Callable[[FakeChain], None], options: Options
) -> None:
    prepare(chain)
    chain.fund(USERS[1], 100)
    report = settle(
        chain,
        tmp_path,
        [("a", USERS[0], 100), ("b", USERS[1], 100)],
        replace(options, max_user_fee=Options.max_user_fee)
        if wait is not Wait.OVER_CAP and options.max_user_fee
        else options,
    )
    stuck = line(report, USERS[0])
    assert (stuck.wait, stuck.unsettled, stuck.outcome) == (wait, 100, wait.name.lower().replace("_", " "))
    assert stuck.wait.value
    chain.fund(USERS[0], 1000)
    assert settle(chain, tmp_path).paid == 100 + (100 if line(report, USERS[1]).unsettled else 0)
    assert chain.state.wallet == 200


def test_an_unconfirmed_signer_or_exhausted_nonce_prevents_settling(chain: FakeChain, tmp_path: Path) -> None:
    assert chain.state.service is not None
    service = chain.state.service
    chain.fund(USERS[0], 100)
    chain.fund(USERS[1], 100, nonce=2**64 - 1)
    chain.state.service = replace(service, confirmed=False)
    report = settle(chain, tmp_path, [("a", USERS[0], 5), ("b", USERS[1], 5)])
    assert line(report, USERS[0]).wait is Wait.SIGNER_NOT_CONFIRMED
    chain.state.service = service
    report = settle(chain, tmp_path)
    assert (report.paid, line(report, USERS[1]).wait) == (5, Wait.NONCE_EXHAUSTED)


def test_the_uncovered_part_gets_a_new_signature_later(chain: FakeChain, tmp_path: Path) -> None:
    chain.fund(USERS[0], 25)
    report = settle(chain, tmp_path, [("a", USERS[0], 10), ("b", USERS[0], 20), ("c", USERS[0], 30)])
    first = line(report, USERS[0])
    assert (first.status, first.paid, first.unsettled, first.wait) == (Status.PARTIAL, 25, 35, Wait.PAID_IN_PART)
    assert first.outcome == "partly settled"
    chain.fund(USERS[0], 100)
    report = settle(chain, tmp_path, [("d", USERS[0], 1)])
    assert (report.paid, report.unsettled, chain.state.wallet) == (36, 0, 61)


def test_nonces_exceed_the_clock_the_chain_and_every_signed_nonce(chain: FakeChain, tmp_path: Path) -> None:
    for user, nonce in zip(USERS, [0, 10**18], strict=False):
        chain.fund(user, 100, nonce=nonce)
    report = settle(chain, tmp_path, [("a", USERS[0], 1), ("b", USERS[1], 1)])
    assert line(report, USERS[1]).wait is Wait.UNKNOWN_SETTLEMENT
    assert [chain.state.accounts[user].nonce for user in USERS[:2]] == [chain.now * 10**7, 10**18]
    with journal_at(tmp_path / "journal") as journal:
        user = journal.user(USERS[1])
        assert user is not None
        block = chain.blocks[-1]
        acceptance = Acceptance(Outcome(Status.SUCCESS, 0), len(chain.blocks) - 1, block.hash, "0xelsewhere")
        journal.adopt(user, UserSettlement(USERS[1], 5, 10**18, bytes(32)), 0, acceptance)
    chain.now -= 1000
    settle(chain, tmp_path, [("c", USERS[0], 1), ("d", USERS[1], 1)])
    assert [chain.state.accounts[user].nonce for user in USERS[:2]] == [(chain.now + 1000) * 10**7 + 1, 10**18 + 1]
    settle(chain, tmp_path, [("e", USERS[0], 1), ("f", USERS[1], 1)])
    assert [chain.state.accounts[user].nonce for user in USERS[:2]] == [(chain.now + 1000) * 10**7 + 2, 10**18 + 2]


def test_users_whose_funds_may_leave_come_first(chain: FakeChain, tmp_path: Path) -> None:
    for user in USERS[:5]:
        chain.fund(user, 1000)
    chain.ask_back(USERS[3], 1000, unlocks_in=7200)
    chain.ask_back(USERS[4], 950, unlocks_in=3600)
    chain.ask_back(USERS[0], 1000, unlocks_in=10**6)
    requests = [
        (f"r{place}", user, fee)
        for place, (user, fee) in enumerate(zip(USERS, [500, 2000, 600, 100, 100], strict=False))
    ]
    order: list[str] = []

    async def preview(signed: SignedSettlements) -> list[Outcome]:
        order.extend(row.user for row in signed.settlements)
        return await FakeChain.preview(chain, signed)

    chain.preview = preview  # type: ignore[method-assign]
    report = settle(chain, tmp_path, requests, replace(CALM, batch_rows=2))
    assert order == [USERS[4], USERS[3], USERS[1], USERS[2], USERS[0]]
    warnings = {user: line(report, user).stake.warning() for user in USERS[:5]}
    assert "will not be covered" in warnings[USERS[3]]
    assert "50 wei of open work will" in warnings[USERS[4]]
    assert "exceeds the balance by 1000 wei" in warnings[USERS[1]]
    assert warnings[USERS[0]] is warnings[USERS[2]] is None


def test_a_batch_that_needs_too_much_gas_is_halved(chain: FakeChain, tmp_path: Path) -> None:
    for user in USERS:
        chain.fund(user, 100)
    requests = [(user, user, 10) for user in USERS]
    report = settle(chain, tmp_path, requests, replace(CALM, gas_limit=45_000))
    assert (report.paid, report.batches) == (70, 4)
    report = settle(chain, tmp_path, [("new", USERS[0], 1)], replace(CALM, gas_limit=1))
    assert report.stopped_by is not None
    assert line(report, USERS[0]).wait is Wait.NOT_SENT
    assert settle(chain, tmp_path).paid == 1


def test_the_wrong_tee_signer_keeps_the_records_open(chain: FakeChain, tmp_path: Path) -> None:
    other = LocalTeeSigner(b"\x08" * 32)
    chain.fund(USERS[0], 100)
    with pytest.raises(WrongSigner):
        settle(chain, tmp_path, [("a", USERS[0], 10)], signer=other)
    assert chain.state.service is not None
    chain.state.service = replace(chain.state.service, tee_signer=other.address)
    with pytest.raises(WrongSigner):
        settle(chain, tmp_path)
    assert settle(chain, tmp_path, signer=other).paid == 10


def test_after_a_change_of_signer_a_batch_in_flight_is_signed_again(chain: FakeChain, tmp_path: Path) -> None:
    other = LocalTeeSigner(b"\x08" * 32)
    chain.fund(USERS[0], 100)
    chain.mines_at_once = False
    report = settle(chain, tmp_path, [("a", USERS[0], 10)])
    assert isinstance(report.stopped_by, TransactionPending)
    assert line(report, USERS[0]).wait is Wait.IN_FLIGHT
    assert chain.state.service is not None
    chain.state.service = replace(chain.state.service, tee_signer=other.address)
    chain.mine()
    chain.mines_at_once = True
    report = settle(chain, tmp_path, signer=other)
    assert (report.taken_up, report.taken_up_paid, report.paid, chain.state.wallet) == (1, 0, 10, 10)
    assert any("TEE signer was changed" in note for note in report.notes)


def test_without_a_service_nothing_is_read_or_sent(chain: FakeChain, tmp_path: Path) -> None:
    chain.state.service = None
    with pytest.raises(NoService):
        settle(chain, tmp_path, [("a", USERS[0], 10)])


def test_a_stuck_transaction_is_replaced_and_pays_once(chain: FakeChain, tmp_path: Path) -> None:
    chain.fund(USERS[0], 100)
    chain.least_fee = 7
    report = settle(chain, tmp_path, [("a", USERS[0], 10)], FAST)
    assert (report.replaced, report.paid, chain.state.wallet, chain.state.wallet_nonce) == (3, 10, 10, 1)


def test_a_replacement_stops_at_the_cap_and_the_next_run_resumes(chain: FakeChain, tmp_path: Path) -> None:
    chain.fund(USERS[0], 100)
    chain.least_fee = 100
    report = settle(chain, tmp_path, [("a", USERS[0], 10)], replace(FAST, max_gas_price=50))
    assert "cap" in str(report.stopped_by)
    chain.least_fee = 1
    report = settle(chain, tmp_path, None, FAST)
    assert (report.taken_up, report.taken_up_paid, report.paid, chain.state.wallet) == (1, 0, 10, 10)


def test_a_transaction_that_never_reached_the_node_is_sent_by_the_next_run(chain: FakeChain, tmp_path: Path) -> None:
    chain.fund(USERS[0], 100)

    def cut_off(method: str, _: str) -> None:
        if method == "broadcast":
            raise NodeUnreachable("gone")

    chain.hook = cut_off
    assert isinstance(settle(chain, tmp_path, [("a", USERS[0], 10)]).stopped_by, NodeUnreachable)
    chain.hook = lambda *_: None
    report = settle(chain, tmp_path)
    assert (report.taken_up, report.taken_up_paid, report.paid, chain.state.wallet) == (1, 0, 10, 10)


def test_a_vanished_receipt_is_found_through_events(chain: FakeChain, tmp_path: Path) -> None:
    chain.fund(USERS[0], 100)
    chain.mines_at_once = False
    settle(chain, tmp_path, [("a", USERS[0], 10)])
    chain.hidden = set(chain.pool)
    chain.mine()
    report = settle(chain, tmp_path)
    assert (report.taken_up_paid, report.paid, chain.state.wallet) == (10, 0, 10)


def test_a_lost_batch_is_sent_again_with_the_same_signatures(chain: FakeChain, tmp_path: Path) -> None:
    chain.fund(USERS[0], 100)
    chain.mines_at_once = False
    settle(chain, tmp_path, [("a", USERS[0], 10)])
    (first,) = chain.pool.values()
    chain.take_nonce()
    chain.mines_at_once = True
    report = settle(chain, tmp_path)
    assert (report.taken_up, report.taken_up_paid, report.paid, chain.state.wallet) == (1, 0, 10, 10)
    assert chain.blocks[-1].transactions[0][0].signed == first.signed
    assert any("nonce 0 of the wallet could not be mined" in note for note in report.notes)


def test_a_transaction_mined_after_it_seemed_lost_pays_once(chain: FakeChain, tmp_path: Path) -> None:
    chain.fund(USERS[0], 100)
    chain.mines_at_once = False
    settle(chain, tmp_path, [("a", USERS[0], 10)])
    (first,) = chain.pool.values()
    chain.take_nonce()
    report = settle(chain, tmp_path, None, replace(CALM, give_up_after=0))
    assert (report.paid, report.stopped_by, line(report, USERS[0]).wait) == (0, None, Wait.IN_FLIGHT)
    assert [sent.nonce for sent in chain.pool.values() if sent.signed == first.signed] == [1]
    chain.reorganise(1)
    chain.pool.pop("foreign")
    chain.pool[first.hash] = first
    chain.mines_at_once = True
    chain.mine()
    report = settle(chain, tmp_path)
    assert (report.taken_up_paid, report.paid, chain.state.wallet) == (10, 0, 10)


@pytest.mark.parametrize("keep", [True, False])
def test_a_batch_of_a_reorganised_block_is_resumed(chain: FakeChain, tmp_path: Path, keep: bool) -> None:
    for user in USERS[:2]:
        chain.fund(user, 100)
    settle(chain, tmp_path, [("a", USERS[0], 10)])
    settle(chain, tmp_path, [("b", USERS[0], 5), ("c", USERS[1], 7)])
    chain.reorganise(2, keep=keep)
    assert chain.state.wallet == 0
    chain.mine()
    report = settle(chain, tmp_path, [("d", USERS[0], 1)])
    assert any("reorganised" in note for note in report.notes)
    assert report.taken_up == 2
    if keep:
        assert (report.taken_up_paid, report.paid, chain.state.wallet) == (22, 1, 23)
        return
    assert (report.taken_up_paid, report.paid, chain.state.wallet) == (0, 23, 23)
    held = line(report, USERS[0])
    assert (held.wait, held.outcome, held.paid, held.unsettled) == (None, "settled", 16, 0)


def test_results_wait_for_confirmations(chain: FakeChain, tmp_path: Path) -> None:
    chain.fund(USERS[0], 100)
    options = replace(CALM, confirmations=3, give_up_after=0.1)
    report = settle(chain, tmp_path, [("a", USERS[0], 10)], options)
    assert (report.paid, line(report, USERS[0]).wait) == (0, Wait.IN_FLIGHT)
    chain.reorganise(1)
    chain.mine()
    for _ in range(2):
        chain.mine()
    report = settle(chain, tmp_path, None, options)
    assert (report.taken_up_paid, chain.state.wallet) == (10, 10)


def test_a_chain_shorter_than_the_journal_is_refused(chain: FakeChain, tmp_path: Path) -> None:
    chain.fund(USERS[0], 100)
    for _ in range(300):
        chain.mine()
    settle(chain, tmp_path, [("a", USERS[0], 10)])
    with pytest.raises(JournalOfAnother, match="has only"):
        settle(FakeChain(), tmp_path)


LIES: list[Callable[[Landed], Landed]] = [
    lambda landed: replace(landed, outcomes=tuple(Outcome(Status.NO_TEE_SIGNER, 0) for _ in landed.outcomes)),
    lambda landed: replace(landed, outcomes=tuple(Outcome(Status.INVALID_NONCE, 0) for _ in landed.outcomes)),
    lambda landed: replace(landed, succeeded=False, outcomes=()),
]


@pytest.mark.parametrize("lie", range(len(LIES)))
def test_a_receipt_that_contradicts_the_accounts_is_not_booked(
    chain: FakeChain, tmp_path: Path, lie: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    chain.fund(USERS[0], 100)

    async def landed(sent: Transaction, signed: SignedSettlements) -> Landed | None:
        found = await FakeChain.landed(chain, sent, signed)
        return None if found is None else LIES[lie](found)

    async def search(*_: Any) -> list[Landed]:
        return []

    with monkeypatch.context() as lying:
        lying.setattr(chain, "landed", landed)
        lying.setattr(chain, "search", search)
        report = settle(chain, tmp_path, [("a", USERS[0], 10)])
    assert isinstance(report.stopped_by, Disagreement)
    assert report.stopped_by.next_step
    report = settle(chain, tmp_path)
    assert (report.taken_up_paid, report.paid, chain.state.wallet) == (10, 0, 10)


def test_a_difference_between_preview_and_result_is_explained(chain: FakeChain, tmp_path: Path) -> None:
    for user in USERS[:4]:
        chain.fund(user, 100)

    def meanwhile(method: str, when: str) -> None:
        if method == "broadcast" and when == "before":
            accounts = chain.state.accounts
            accounts[USERS[0]] = replace(accounts[USERS[0]], balance=4)
            accounts[USERS[1]] = replace(accounts[USERS[1]], acknowledged=False)
            accounts[USERS[2]] = replace(accounts[USERS[2]], nonce=2**63)

    chain.hook = meanwhile
    report = settle(chain, tmp_path, [(user, user, 10) for user in USERS[:4]])
    assert (report.paid, report.unsettled, chain.state.wallet) == (14, 26, 14)
    notes = " ".join(report.notes)
    for words in ("coins left the account", "revoked the acknowledgement", "another settlement with a higher nonce"):
        assert words in notes
    assert len(report.notes) == 3


def test_a_dry_run_sends_nothing_and_writes_nothing_to_the_chain(chain: FakeChain, tmp_path: Path) -> None:
    chain.fund(USERS[0], 100)
    chain.fund(USERS[1], 3)
    report = settle(chain, tmp_path, [("a", USERS[0], 10), ("b", USERS[1], 10)], replace(CALM, dry_run=True))
    assert [line(report, user).expected for user in USERS[:2]] == [10, 3]
    assert (report.paid, chain.state.wallet, chain.broadcasts) == (0, 0, [])


def test_a_dry_run_skips_users_in_flight(chain: FakeChain, tmp_path: Path) -> None:
    for user in USERS[:2]:
        chain.fund(user, 100)
    chain.mines_at_once = False
    settle(chain, tmp_path, [("a", USERS[0], 10)])
    report = settle(chain, tmp_path, [("b", USERS[0], 5), ("c", USERS[1], 5)], replace(CALM, dry_run=True))
    assert (line(report, USERS[0]).wait, line(report, USERS[0]).expected) == (Wait.IN_FLIGHT, 0)
    assert line(report, USERS[1]).expected == 5
