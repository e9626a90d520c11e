# SPDX-License-Identifier: Apache-2.0
"""What a run asks of a node, against the real contracts and against a node that answers by a script."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from eth_utils.address import to_checksum_address

from serving_network.chain.connection import AsyncConnection
from serving_network.chain.fees import Fees
from serving_network.chain.receipts import Receipt
from serving_network.clients.owner import AsyncOwner
from serving_network.clients.provider import AsyncProvider
from serving_network.clients.read.network import AsyncNetwork
from serving_network.clients.read.settlement_calls import Form
from serving_network.clients.settlements import Disagreement, Outcome, SignedSettlements
from serving_network.clients.user import AsyncUser
from serving_network.contracts import load
from serving_network.contracts.errors import ServiceNotExist, TransferFailed
from serving_network.contracts.models import Offer, Status
from serving_network.errors import InvalidInput, NodeFailure, RpcError, TransactionDropped, TransactionFailure
from serving_network.localchain import EmbeddedChain
from serving_network.messages.transactions import SignedTransaction
from serving_network.messages.typed_data import (
    TEESettlement,
    TEESettlementBatch,
    UserSettlement,
)
from serving_network.settlement import live, sending
from serving_network.settlement.chain import Landed, PastSettlement, Service, TooMuchGas, Underpriced
from serving_network.settlement.journal import open_journal
from serving_network.settlement.journal.records import Acceptance, Mined, Transaction
from serving_network.settlement.live import GasPriceAboveCap, LiveChain, WalletRefusesCoins
from serving_network.settlement.options import Options
from serving_network.settlement.report import Report
from serving_network.settlement.runner import Settlement
from serving_network.store.opening import Identity, JournalFailure
from serving_network.usage_logs.reader import UsageLog
from serving_network.wallet.local import LocalSigner
from tests.settlement.stage import (
    COIN,
    OWNER,
    PROVIDER,
    TEE,
    USERS,
    dev_signer,
    prepare_in_process,
    send_through_a_contract,
)

RIVAL, STRANGER = dev_signer(2), dev_signer(3)
ANN, BEN, CLEO = (user.address for user in USERS[:3])
GAS_PRICE_CAP = 10**12


# -------------------------------------------------------------------------------- what the contracts' events tell


@dataclass
class Told:
    """A chain on which two providers settled, and what the first of them should be told about it."""

    form: Form
    chain: EmbeddedChain
    before: int
    """The number of the newest block before the first settlement."""
    signed: list[SignedSettlements] = field(default_factory=list)
    sent: list[Transaction] = field(default_factory=list)
    past: list[PastSettlement] = field(default_factory=list)
    through_contract: str = ""

    def ask(self, question: Callable[[LiveChain], Awaitable[Any]]) -> Any:
        async def asked() -> Any:
            async with await AsyncConnection.open(self.chain) as connection:
                return await question(await LiveChain.open(connection, PROVIDER))

        return asyncio.run(asked())

    def landed(self, transaction: Transaction) -> Landed:
        """Where a transaction is, from its receipt."""
        receipt = self.chain.request("eth_getTransactionReceipt", [transaction.hash])
        gas, price = int(receipt["gasUsed"], 16), int(receipt["effectiveGasPrice"], 16)
        mined = Mined(int(receipt["blockNumber"], 16), receipt["blockHash"], gas, gas * price)
        outcomes = {
            0: (Outcome(Status.SUCCESS, 10), Outcome(Status.SUCCESS, 20)),
            1: (Outcome(Status.SUCCESS, 5), Outcome(Status.INVALID_NONCE, 0)),
        }
        return Landed(True, mined, outcomes[self.sent.index(transaction)], transaction.hash)


def sign(form: Form, contract: str, provider: str, *settlements: UserSettlement) -> SignedSettlements:
    if form == "batch":
        signatures = [TEE.sign_typed(TEESettlementBatch(provider, settlements), 31337, contract)]
    else:
        signatures = [TEE.sign_typed(TEESettlement(provider, one), 31337, contract) for one in settlements]
    return SignedSettlements(form, settlements, tuple(signatures))


def settlement(user: str, fee: int, nonce: int) -> UserSettlement:
    return UserSettlement(to_checksum_address(user), fee, nonce, bytes([nonce]) * 32)


async def send_as(chain: LiveChain, signed: SignedSettlements) -> Transaction:
    made = await chain.prepare(signed, await chain.wallet_nonce(), 5_000_000, GAS_PRICE_CAP, 10**5)
    await chain.broadcast(made)
    return made


async def prepare_rival(connection: AsyncConnection, users: Sequence[LocalSigner]) -> None:
    """Another provider with the same users."""
    offer = Offer(
        service_type="chatbot", url="https://rival.example/v1", model="model-2", verifiability="TeeML",
        input_price=1, output_price=1, additional_info="{}", tee_signer=to_checksum_address(TEE.address),
    )  # fmt: skip
    await AsyncProvider(connection, RIVAL).register(offer)
    await AsyncOwner(connection, OWNER).confirm(RIVAL.address)
    for key in users:
        await AsyncUser(connection, key).fund(RIVAL.address, COIN)


@pytest.fixture(scope="module", params=["batch", "entries"])
def told(request: pytest.FixtureRequest) -> Told:
    chain = EmbeddedChain()
    prepare_in_process(chain, USERS[:3], COIN)
    form: Form = request.param
    made = Told(form, chain, 0)

    async def play() -> None:
        async with await AsyncConnection.open(chain) as connection:
            await prepare_rival(connection, USERS[:3])
            ours, rivals = await LiveChain.open(connection, PROVIDER), await LiveChain.open(connection, RIVAL)
            made.before = await connection.block_number()
            first = sign(form, ours.contract, PROVIDER.address, settlement(ANN, 10, 1), settlement(BEN, 20, 2))
            made.sent.append(await send_as(ours, first))
            await send_as(rivals, sign(form, ours.contract, RIVAL.address, settlement(ANN, 3, 7)))
            await connection.send(PROVIDER, STRANGER.address, b"", value=1)
            second = sign(form, ours.contract, PROVIDER.address, settlement(ANN, 5, 4), settlement(CLEO, 1, 0))
            made.sent.append(await send_as(ours, second))
            made.signed = [first, second]
            through = sign(form, ours.contract, PROVIDER.address, settlement(BEN, 7, 5))
            made.through_contract = await send_through_a_contract(
                connection, STRANGER, ours.contract, ours._wire.calldata(through)
            )
            await change_balances(connection)

    asyncio.run(play())
    paid = [(0, ANN, 10), (0, BEN, 20), (1, ANN, 5)]
    for transaction, user, fee in paid:
        landed = made.landed(made.sent[transaction])
        (row,) = [row for row in made.signed[transaction].settlements if row.user == user]
        acceptance = Acceptance(
            Outcome(Status.SUCCESS, fee), landed.mined.block_number, landed.mined.block_hash, landed.transaction
        )
        made.past.append(PastSettlement(user, row, acceptance))
    receipt = chain.request("eth_getTransactionReceipt", [made.through_contract])
    assert receipt["status"] == "0x1"
    made.past.append(
        PastSettlement(
            BEN,
            None,
            Acceptance(
                # TEESettlementResult does not name what was paid, and the calldata cannot be read.
                Outcome(Status.SUCCESS, 7 if form == "batch" else 0),
                int(receipt["blockNumber"], 16),
                receipt["blockHash"],
                made.through_contract,
            ),
        )
    )
    return made


async def change_balances(connection: AsyncConnection) -> None:
    """A user funds the provider again and asks for it back: balances change without a settlement."""
    user = AsyncUser(connection, USERS[0])
    await user.fund(PROVIDER.address, 3)
    await user.retrieve([PROVIDER.address])


@pytest.mark.parametrize("place", [0, 1])
def test_transactions_of_settlements_are_found_through_events(told: Told, place: int) -> None:
    signed, transaction = told.signed[place], told.sent[place]
    landed = told.landed(transaction)
    assert told.ask(lambda chain: chain.landed(transaction, signed)) == landed
    for first in (0, told.before + 1, landed.mined.block_number):
        assert told.ask(partial(LiveChain.search, signed=signed, from_block=first)) == [landed]
    assert told.ask(lambda chain: chain.search(signed, landed.mined.block_number + 1)) == []


def test_settlements_with_another_signature_are_not_found(told: Told) -> None:
    signed = told.signed[0]
    forged = SignedSettlements(signed.form, signed.settlements, tuple(bytes(65) for _ in signed.signatures))
    assert told.ask(lambda chain: chain.search(forged, 0)) == []


@pytest.mark.parametrize(
    ("users", "places"), [([ANN, BEN, CLEO], [0, 1, 2, 3]), ([ANN], [0, 2]), ([BEN], [1, 3]), ([CLEO], []), ([], [])]
)
def test_past_settlements_are_those_accepted_from_this_provider(
    told: Told, users: list[str], places: list[int]
) -> None:
    past = [told.past[place] for place in places]
    assert told.ask(lambda chain: chain.past_settlements(users, 0)) == past
    first = told.past[0].acceptance.block_number
    later = [one for one in past if one.acceptance.block_number > first]
    assert told.ask(lambda chain: chain.past_settlements(users, first + 1)) == later


def test_all_payments_since_a_block_are_found_whoever_sent_them(told: Told) -> None:
    first, second = (told.landed(sent).mined.block_number for sent in told.sent)
    expected = {
        0: told.past,
        told.before: told.past,
        first: told.past[2:],
        second - 1: told.past[2:],
        second: told.past[3:],
    }
    for since, past in expected.items():
        assert told.ask(partial(LiveChain.paid_since, block_number=since, form=told.form, known=set())) == past
    known = {told.sent[0].hash}
    assert told.ask(lambda chain: chain.paid_since(0, told.form, known)) == told.past[2:]
    known |= {told.sent[1].hash, told.through_contract}
    assert told.ask(lambda chain: chain.paid_since(0, told.form, known)) == []
    newest = int(told.chain.request("eth_blockNumber", []), 16)
    for since in (newest, newest + 1, newest + 1000):
        assert told.ask(partial(LiveChain.paid_since, block_number=since, form=told.form, known=set())) == []


def test_the_wallets_settlement_calls_are_listed_by_nonce(told: Told) -> None:
    """Not its other transactions, and not those of another provider."""
    first, second = told.sent
    assert second.nonce == first.nonce + 2, "a transfer is in between"
    both = {first.nonce: first.hash, second.nonce: second.hash}
    number = told.landed(first).mined.block_number
    expected: dict[int, dict[int, str]] = {
        0: both, told.before: both, number - 1: both, number: {second.nonce: second.hash},
        told.landed(second).mined.block_number: {},
    }  # fmt: skip
    for since, calls in expected.items():
        assert told.ask(partial(LiveChain.calls_since, block_number=since)) == calls


# --------------------------------------------------------------------------- refunds in the block of the settlement

LEAVING, STAYING = 8, 12
OPTIONS = Options(stuck_after=60, give_up_after=5, patience=0, first_pause=0.01)


class Refunding:
    """A node to which some users come with refunds when a settlement is sent: all goes into one block."""

    def __init__(self, chain: EmbeddedChain, wallets: Sequence[str]) -> None:
        self.chain = chain
        self.refunds = list(wallets)

    def request(self, method: str, params: Sequence[Any] = ()) -> Any:
        if method != "eth_sendRawTransaction" or not self.refunds:
            return self.chain.request(method, params)
        self.chain.request("evm_setAutomine", [False])
        for raw in self.refunds:
            self.chain.request(method, [raw])
        self.refunds.clear()
        answer = self.chain.request(method, params)
        self.chain.request("evm_mine", [])
        self.chain.request("evm_setAutomine", [True])
        return answer


@pytest.fixture(scope="module")
def crowd() -> EmbeddedChain:
    chain = EmbeddedChain()
    prepare_in_process(chain, USERS[: LEAVING + STAYING], COIN)
    return chain


async def refunds_of(chain: EmbeddedChain, users: Sequence[LocalSigner]) -> list[str]:
    """Signed transactions with which each user brings the account to what a settlement costs most in.

    Five times everything is asked back, and but for the last time a part of it is put in again.
    """
    async with await AsyncConnection.open(chain) as connection:
        ledger = AsyncNetwork(connection).ledger_contract
        service = (await AsyncNetwork(connection).service("inference")).name
        raws = []
        for user in users:
            nonce = int(chain.request("eth_getTransactionCount", [user.address, "latest"]), 16)
            steps: list[bytes] = []
            for number in range(5):
                steps.append(ledger.interface.encode("retrieveFund", [PROVIDER.address], service))
                if number < 4:
                    steps.append(ledger.interface.encode("transferFund", PROVIDER.address, service, 4 - number))
            for data in steps:
                raws.append(
                    "0x"
                    + user.sign_transaction(
                        {
                            "type": 2, "chainId": 31337, "nonce": nonce, "gas": 500_000, "value": 0,
                            "maxFeePerGas": 10**12, "maxPriorityFeePerGas": 10**11, "to": ledger.address,
                            "data": "0x" + data.hex(),
                        }
                    ).hex()
                )  # fmt: skip
                nonce += 1
        return raws


def use_form(monkeypatch: pytest.MonkeyPatch, chain: LiveChain, form: Form) -> None:
    ask = chain.service

    async def service() -> Service | None:
        found = await ask()
        return None if found is None else replace(found, takes_batches=form == "batch")

    monkeypatch.setattr(chain, "service", service)


@pytest.mark.parametrize("form", ["batch", "entries"])
@pytest.mark.parametrize("reserve", [True, False], ids=["reserve", "no reserve"])
def test_refunds_in_the_same_block_do_not_starve_a_settlement(
    crowd: EmbeddedChain, tmp_path: Path, form: Form, reserve: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before, the gas was what the estimate said, and everybody was left unpaid because some left."""
    snapshot = crowd.request("evm_snapshot", [])
    users = USERS[: LEAVING + STAYING]
    log = tmp_path / "usage.jsonl"
    log.write_text(
        "".join(f'{{"id": "{user.address}", "user": "{user.address}", "time": 1, "fee": 100}}\n' for user in users)
    )
    if not reserve:
        monkeypatch.setattr(sending, "worst_case_gas", lambda _: 0)
    first = int(crowd.request("eth_blockNumber", []), 16) + 1
    node = Refunding(crowd, asyncio.run(refunds_of(crowd, users[:LEAVING])))

    async def settle() -> Report:
        async with await AsyncConnection.open(node) as connection:
            chain = await LiveChain.open(connection, PROVIDER)
            use_form(monkeypatch, chain, form)
            with open_journal(tmp_path / "journal", Identity(31337, "", chain.contract, chain.provider)) as journal:
                return await Settlement(chain, journal, TEE, OPTIONS).run(UsageLog(log))

    report = asyncio.run(settle())
    statuses = sent_by_provider(crowd, first)
    held = asyncio.run(balances(crowd))
    crowd.request("evm_revert", [snapshot])
    assert (report.paid, report.unsettled, report.stopped_by) == (100 * len(users), 0, None)
    assert held == dict.fromkeys((user.address for user in users), COIN - 100)
    assert statuses == (["0x1"] if reserve else ["0x0", "0x1", "0x1"])


def sent_by_provider(chain: EmbeddedChain, first: int) -> list[str]:
    """The statuses of the provider's transactions from a block on."""
    numbers = range(first, int(chain.request("eth_blockNumber", []), 16) + 1)
    blocks = [chain.request("eth_getBlockByNumber", [hex(number), True]) for number in numbers]
    hashes = [
        sent["hash"]
        for block in blocks
        for sent in block["transactions"]
        if int(sent["from"], 16) == int(PROVIDER.address, 16)
    ]
    return [chain.request("eth_getTransactionReceipt", [one])["status"] for one in hashes]


async def balances(chain: EmbeddedChain) -> dict[str, int]:
    users = [user.address for user in USERS[: LEAVING + STAYING]]
    async with await AsyncConnection.open(chain) as connection:
        found = await AsyncNetwork(connection).accounts_with(PROVIDER.address, users)
        return {user: account.balance for user, account in found.items()}


# -------------------------------------------------------------------------------------------- the wallet's nonce


@dataclass
class Counting:
    """A node whose newest block is 1000, and where the wallet sent a transaction in each block."""

    pending: int = 1000
    chain_id: int = 16661

    async def block_number(self) -> int:
        return 1000

    async def rpc(self, method: str, params: Sequence[Any]) -> Any:
        (wallet, block) = params
        assert (method, wallet) == ("eth_getTransactionCount", PROVIDER.address)
        return hex({"latest": 1000, "pending": self.pending}[block]) if block in ("latest", "pending") else block


def counted(node: Counting, question: Callable[[LiveChain], Awaitable[int]]) -> int:
    made: Any = node
    chain = LiveChain(made, cast("Any", SimpleNamespace(chain=node)), "inference", cast("Any", None), PROVIDER)

    async def ask() -> int:
        return await question(chain)

    return asyncio.run(ask())


@pytest.mark.parametrize(
    ("depth", "block"), [(1, 1000), (2, 999), (3, 998), (7, 994), (1000, 1), (1001, 0), (1002, 0), (5000, 0)]
)
def test_the_mined_nonce_of_the_wallet_is_that_of_the_block_at_the_depth(depth: int, block: int) -> None:
    assert counted(Counting(), lambda chain: chain.mined_wallet_nonce(depth)) == block
    assert counted(Counting(), lambda chain: chain.wallet_nonce_at(block)) == block


@pytest.mark.parametrize(("pending", "nonce"), [(1003, 1003), (1000, 1000), (7, 1000)])
def test_the_next_nonce_of_the_wallet_is_never_below_the_newest_block(pending: int, nonce: int) -> None:
    assert counted(Counting(pending), lambda chain: chain.wallet_nonce()) == nonce


# ------------------------------------------------------------------------------------- what a transaction may cost

CAP = 1000
EMPTY = SignedSettlements("entries", (), ())


@dataclass
class Pricing:
    """A node that suggests these fees and estimates this much gas, and what it was asked to sign and send."""

    fees: Fees
    base: int | None = None
    gas: int = 70
    fails: TransactionFailure | None = None
    made: list[tuple[str, bytes, dict[str, Any]]] = field(default_factory=list)
    replaced: list[tuple[Any, bool]] = field(default_factory=list)
    chain_id: int = 16661

    async def suggested_fees(self) -> Fees:
        return self.fees

    async def block(self, number: str) -> dict[str, Any]:
        assert number == "latest"
        return {} if self.base is None else {"baseFeePerGas": hex(self.base)}

    async def estimate_gas(self, sender: str, to: str, _: bytes) -> int:
        assert (sender, to) == (PROVIDER.address, STRANGER.address)
        return self.gas

    async def prepare(self, wallet: LocalSigner, to: str, data: bytes, **options: Any) -> SimpleNamespace:
        assert wallet is PROVIDER
        self.made.append((to, data, options))
        fees = options["fees"]
        return SimpleNamespace(
            hash="0xaa", raw=b"raw", nonce=options["nonce"], gas=options["gas"], legacy=fees.legacy,
            max_fee_per_gas=fees.max_fee_per_gas, max_priority_fee_per_gas=fees.max_priority_fee_per_gas,
        )  # fmt: skip

    async def replace(self, wallet: LocalSigner, stuck: Any, *, fees: Fees, cancel: bool = False) -> SimpleNamespace:
        self.replaced.append((stuck, cancel))
        return await self.prepare(wallet, "", b"", nonce=3, gas=9, fees=fees)

    async def broadcast(self, _: Any) -> None:
        if self.fails is not None:
            raise self.fails


def priced(node: Pricing) -> LiveChain:
    made: Any = node
    contract: Any = SimpleNamespace(address=STRANGER.address, interface=load("InferenceServing").interface)
    return LiveChain(made, cast("Any", SimpleNamespace(chain=node)), "inference", contract, PROVIDER)


@pytest.mark.parametrize(
    ("suggested", "base", "fees"),
    [
        (Fees(CAP, 7), 1, Fees(CAP, 7)),
        (Fees(CAP - 1, 7), 1, Fees(CAP - 1, 7)),
        (Fees(CAP + 1, 7), CAP - 1, Fees(CAP, 7)),
        (Fees(3 * CAP, 2 * CAP), 1, Fees(CAP, CAP)),
        (Fees(3 * CAP, 7), None, Fees(CAP, 7)),
        (Fees.gas_price(CAP), None, Fees.gas_price(CAP)),
        (Fees(CAP + 1, 7), CAP, None),
        (Fees(3 * CAP, 7), 2 * CAP, None),
        (Fees.gas_price(CAP + 1), None, None),
    ],
)
def test_fees_are_at_most_the_cap_and_at_least_the_base_fee(
    suggested: Fees, base: int | None, fees: Fees | None
) -> None:
    node = Pricing(suggested, base)
    chain = priced(node)
    if fees is not None:
        made = asyncio.run(chain.empty(9, None, CAP))
        assert node.made == [(PROVIDER.address, b"", {"gas": 21_000, "nonce": 9, "fees": fees})]
        price = (fees.max_fee_per_gas, fees.max_priority_fee_per_gas, fees.legacy)
        assert made == Transaction("0xaa", b"raw", 9, 21_000, *price, "cancel")
        return
    with pytest.raises(GasPriceAboveCap, match=f"the cap is {CAP} wei") as caught:
        asyncio.run(chain.empty(9, None, CAP))
    assert f"The gas price is {base or suggested.max_fee_per_gas} wei" in str(caught.value)
    assert "--max-fee" in str(caught.value.next_step)
    assert node.made == []


@pytest.mark.parametrize(("stuck", "cap", "fits"), [(800, 1001, True), (800, 1000, False), (801, 1001, False)])
def test_a_transaction_is_replaced_only_if_the_raised_fee_is_within_the_cap(
    monkeypatch: pytest.MonkeyPatch, stuck: int, cap: int, fits: bool
) -> None:
    node = Pricing(Fees(1, 1))
    chain = priced(node)
    waiting = Transaction("0xbb", b"", 3, 21_000, stuck, 1)
    monkeypatch.setattr(chain, "_as_sent", lambda *found: found)
    questions = partial(chain.empty, 3), partial(chain.replace, EMPTY)
    if not fits:
        for question in questions:
            with pytest.raises(GasPriceAboveCap) as caught:
                asyncio.run(question(waiting, cap))
            assert caught.value.transaction == "0xbb"
            assert f"--max-fee '{stuck * 125 // 100 + 1} wei'" in str(caught.value.next_step)
        return
    empty, carrying = (asyncio.run(question(waiting, cap)) for question in questions)
    assert (empty.purpose, carrying.purpose, empty._replace(purpose="carry")) == ("cancel", "carry", carrying)
    assert node.replaced == [((waiting,), True), ((waiting, chain._wire.calldata(EMPTY)), False)]


@pytest.mark.parametrize(("limit", "fits"), [(101, True), (100, True), (99, False)])
def test_a_transaction_has_the_gas_of_its_estimate_and_reserve_within_the_limit(limit: int, fits: bool) -> None:
    node = Pricing(Fees(5, 2))
    chain = priced(node)
    if not fits:
        with pytest.raises(TooMuchGas, match=f"needs up to 100 gas, but the limit is {limit}") as caught:
            asyncio.run(chain.prepare(EMPTY, 4, limit, CAP, 30))
        assert "--gas-limit" in str(caught.value.next_step)
        assert node.made == []
        return
    made = asyncio.run(chain.prepare(EMPTY, 4, limit, CAP, 30))
    assert made == Transaction("0xaa", b"raw", 4, 100, 5, 2, False, "carry")
    assert node.made == [(STRANGER.address, chain._wire.calldata(EMPTY), {"gas": 100, "nonce": 4, "fees": Fees(5, 2)})]


@pytest.mark.parametrize(
    ("message", "underpriced"),
    [
        ("replacement transaction underpriced", True),
        ("Could not replace existing tx", True),
        ("ReplacementNotAllowed", True),
        ("FeeTooLowToCompete", True),
        ("insufficient funds", False),
    ],
)
def test_nodes_say_in_different_words_that_a_fee_is_too_low(
    monkeypatch: pytest.MonkeyPatch, message: str, underpriced: bool
) -> None:
    refusal = TransactionFailure(message, transaction="0xaa", cause="a cause", next_step="a step")
    chain = priced(Pricing(Fees(1, 1), fails=refusal))
    monkeypatch.setattr(chain, "_as_sent", lambda _: None)
    with pytest.raises(TransactionFailure) as caught:
        asyncio.run(chain.broadcast(Transaction("0xaa", b"", 1, 1, 1, 1)))
    found = caught.value
    assert isinstance(found, Underpriced) is underpriced
    assert (str(found), found.transaction, found.cause, found.next_step) == (
        str(refusal), "0xaa", "a cause", "a step",
    )  # fmt: skip


def test_a_nonce_that_is_used_already_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    chain = priced(Pricing(Fees(1, 1), fails=TransactionDropped("nonce too low")))
    monkeypatch.setattr(chain, "_as_sent", lambda _: None)
    asyncio.run(chain.broadcast(Transaction("0xaa", b"", 1, 1, 1, 1)))


# ------------------------------------------------------------------------------------------------ what is final


@dataclass
class Script:
    """A node of some chain with so many blocks that answers for the tag `finalized` as told."""

    chain_id: int
    newest: int
    finalized: Any = None
    refuses: bool = False
    asked: list[str] = field(default_factory=list)

    def request(self, method: str, params: Sequence[Any] = ()) -> Any:
        if method == "eth_chainId":
            return hex(self.chain_id)
        if method == "eth_blockNumber":
            return hex(self.newest)
        assert (method, params[0]) == ("eth_getBlockByNumber", "finalized")
        self.asked.append(params[0])
        if self.refuses:
            raise RpcError(-32602, "unknown block tag: finalized")
        return None if self.finalized is None else {"number": hex(self.finalized), "hash": "0x" + "ab" * 32}


def final_block(node: Script, depth: int | None) -> int:
    async def ask() -> int:
        async with await AsyncConnection.open(cast("Any", node)) as connection:
            network = cast("Any", SimpleNamespace(chain=connection))
            return await LiveChain(connection, network, "inference", cast("Any", None), PROVIDER).final_block(depth)

    return asyncio.run(ask())


@pytest.mark.parametrize("finalized", [0, 900, 1000])
@pytest.mark.parametrize("depth", [None, 1, 7, 2000])
def test_on_a_public_chain_the_tagged_block_is_final_whatever_the_depth(finalized: int, depth: int | None) -> None:
    node = Script(16661, 1000, finalized)
    assert (final_block(node, depth), node.asked) == (finalized, ["finalized"])


@pytest.mark.parametrize("refuses", [False, True])
@pytest.mark.parametrize(
    ("newest", "depth", "final"),
    [(1000, None, 937), (1000, 1, 1000), (1000, 7, 994), (63, None, 0), (64, None, 1), (5, 99, 0)],
)
def test_without_the_finalized_tag_the_depth_decides(newest: int, depth: int | None, final: int, refuses: bool) -> None:
    assert final_block(Script(16661, newest, refuses=refuses), depth) == final


def test_a_tag_ahead_of_the_newest_block_is_not_trusted() -> None:
    with pytest.raises(Disagreement, match="reports block 1001 as final, but its newest block is 1000") as caught:
        final_block(Script(16661, 1000, 1001), None)
    assert isinstance(caught.value, NodeFailure)


@pytest.mark.parametrize(("depth", "final"), [(None, 1000), (1, 1000), (7, 994), (64, 937), (2000, 0)])
def test_the_local_chain_uses_only_the_depth(depth: int | None, final: int) -> None:
    node = Script(31337, 1000, 3)
    assert (final_block(node, depth), node.asked) == (final, [])


# ---------------------------------------------------------------------------------------- what the contracts answer


@dataclass
class Contracts:
    """A network with an inference service and another one, and a provider with this answer of the service."""

    answer: Any = None
    asked: list[Any] = field(default_factory=list)
    address: str = STRANGER.address

    async def service(self, name: str) -> Any:
        kind = "inference" if name == "inference" else "fine-tuning"
        return SimpleNamespace(kind=kind, name=f"{name} v1", contract=self)

    async def read(self, function: str, *arguments: Any) -> Any:
        assert (function, arguments) == ("getService", (PROVIDER.address,))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    async def has(self, function: str, *arguments: Any, sender: str) -> bool:
        self.asked.append((function, arguments, sender))
        return True

    async def accounts_with(self, provider: str, users: list[str], service: str, *, block: Any) -> dict[str, Any]:
        assert (provider, service) == (PROVIDER.address, "inference v1")
        self.asked.append((users, block))
        return {}


def opened(monkeypatch: pytest.MonkeyPatch, contracts: Contracts, service: str = "inference") -> LiveChain:
    made: Any = contracts
    network = SimpleNamespace(chain=None, service=contracts.service, accounts_with=contracts.accounts_with)
    monkeypatch.setattr(live, "AsyncNetwork", lambda *_: network)
    monkeypatch.setattr(live, "ProviderService", SimpleNamespace(read=lambda _, answer: answer))
    made.interface = load("InferenceServing").interface
    return asyncio.run(LiveChain.open(cast("Any", SimpleNamespace()), PROVIDER, service=service))


def test_only_an_inference_service_is_settled_from_a_log(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InvalidInput, match="fine-tuning v1 settles deliverables one by one") as caught:
        opened(monkeypatch, Contracts(), "fine-tuning")
    assert "--service" in str(caught.value.next_step)


def test_the_service_is_read_with_its_prices_and_whether_it_takes_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    offer = Offer("chatbot", "https://a.example", "model", "TeeML", 3, 4, "{}", to_checksum_address(TEE.address))
    contracts = Contracts(SimpleNamespace(offer=offer, confirmed=True))
    chain = opened(monkeypatch, contracts)
    assert asyncio.run(chain.service()) == Service(3, 4, offer.tee_signer, True, True, 1)
    assert contracts.asked == [("settleBatchWithTEE", ([], b""), PROVIDER.address)]
    contracts.answer = ServiceNotExist(PROVIDER.address)
    assert asyncio.run(chain.service()) is None
    contracts.answer = SimpleNamespace(offer=None, confirmed=True)
    with pytest.raises(Disagreement, match="a service of another kind"):
        asyncio.run(chain.service())


def test_accounts_are_read_at_the_block_or_at_the_newest_one(monkeypatch: pytest.MonkeyPatch) -> None:
    contracts = Contracts()
    chain = opened(monkeypatch, contracts)
    for block in (None, 0, 5):
        asyncio.run(chain.accounts([ANN], block))
    assert contracts.asked == [([ANN], "latest"), ([ANN], 0), ([ANN], 5)]


def test_a_wallet_that_takes_no_coins_is_reported_before_anything_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    node = Pricing(Fees(1, 1))

    async def refuses(*_: Any) -> int:
        raise TransferFailed()

    monkeypatch.setattr(node, "estimate_gas", refuses)
    with pytest.raises(WalletRefusesCoins, match="does not accept coins") as caught:
        asyncio.run(priced(node).prepare(EMPTY, 4, 100, CAP, 30))
    assert "code delegation" in str(caught.value.next_step)
    assert node.made == []


# ------------------------------------------------------------------------------------ what the journal says was sent


def written(nonce: int = 3, data: bytes = b"") -> Transaction:
    """A transaction of the wallet, as it is in the journal."""
    fields = {
        "chainId": 16661, "nonce": nonce, "to": STRANGER.address, "value": 0, "data": data, "gas": 21_000,
        "maxFeePerGas": 10, "maxPriorityFeePerGas": 1,
    }  # fmt: skip
    raw = PROVIDER.sign_transaction(fields)
    return Transaction(SignedTransaction.decode(raw).hash, raw, nonce, 21_000, 10, 1)


@dataclass
class Receipts(Pricing):
    """A node that also has this receipt of every transaction."""

    found: Receipt | None = None

    async def receipt(self, _: str) -> Receipt | None:
        return self.found


def test_an_empty_transaction_that_is_mined_has_no_outcomes() -> None:
    node = Receipts(Fees(1, 1))
    cancelled = written()._replace(purpose="cancel")
    assert asyncio.run(priced(node).landed(cancelled, EMPTY)) is None
    assert asyncio.run(priced(node).landed(written(), EMPTY)) is None
    signed = SignedSettlements("entries", (settlement(ANN, 1, 1),), (bytes(65),))
    node.found = Receipt("0xaa", True, 3, "0xb3", 100, 7, None, [])
    landed = asyncio.run(priced(node).landed(cancelled, signed))
    assert landed == Landed(True, Mined(3, "0xb3", 100, 700), (), "0xaa")
    with pytest.raises(Disagreement):
        asyncio.run(priced(node).landed(written(), signed))
    node.found = Receipt("0xaa", False, 3, "0xb3", 100, 7, None, [])
    assert asyncio.run(priced(node).landed(written(), signed)) == Landed(False, landed.mined, (), "0xaa")


@pytest.mark.parametrize(
    ("damage", "differs"),
    [
        ({"nonce": 4}, "nonce"),
        ({"gas": 1, "max_fee_per_gas": 11}, "gas, max_fee_per_gas"),
        ({"max_priority_fee_per_gas": 2, "legacy": True}, "max_priority_fee_per_gas, legacy"),
        ({"hash": "0xaa"}, "hash"),
        ({"raw": b"raw"}, "neither a legacy nor an EIP-1559 transaction"),
    ],
)
def test_a_damaged_transaction_of_the_journal_is_not_sent(damage: dict[str, Any], differs: str) -> None:
    sent: list[Any] = []
    node = Pricing(Fees(1, 1))
    chain = priced(node)
    node.broadcast = sent.append  # type: ignore[assignment]
    with pytest.raises(JournalFailure, match="is damaged") as caught:
        asyncio.run(chain.broadcast(written()._replace(**damage)))
    assert caught.value.cause == f"It differs in: {differs}."
    assert sent == []


def test_a_transaction_is_replaced_only_by_one_with_the_same_calldata() -> None:
    node = Pricing(Fees(1, 1))
    chain = priced(node)
    same = written(data=chain._wire.calldata(EMPTY))
    asyncio.run(chain.replace(EMPTY, same, CAP))
    assert [stuck.raw for stuck, _ in node.replaced] == [same.raw]
    with pytest.raises(JournalFailure) as caught:
        asyncio.run(chain.replace(EMPTY, written(data=b"other"), CAP))
    assert caught.value.cause == "It differs in: data."
