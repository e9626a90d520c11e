# SPDX-License-Identifier: Apache-2.0
"""What the chain of a settlement run answers through a node, against the real contracts."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from eth_utils.address import to_checksum_address

from serving_network.chain.connection import AsyncConnection
from serving_network.clients.provider import AsyncProvider
from serving_network.clients.read.settlement_calls import Form
from serving_network.clients.settlements import Disagreement, Outcome, SignedSettlements
from serving_network.contracts.models import Account, Offer, Status
from serving_network.errors import RpcError
from serving_network.localchain import EmbeddedChain
from serving_network.messages.typed_data import (
    TEESettlement,
    TEESettlementBatch,
    UserSettlement,
)
from serving_network.settlement import sending
from serving_network.settlement.chain import Landed, PastSettlement, Service
from serving_network.settlement.gas import worst_case_gas
from serving_network.settlement.journal import open_journal
from serving_network.settlement.journal.records import Transaction
from serving_network.settlement.live import FINAL_DEPTH, LiveChain
from serving_network.settlement.options import Options
from serving_network.settlement.planning import Wait
from serving_network.settlement.report import Report
from serving_network.settlement.runner import Settlement
from serving_network.store.opening import Identity
from serving_network.usage_logs.reader import UsageLog
from serving_network.wallet.local import LocalTeeSigner
from tests.settlement.stage import COIN, PROVIDER, TEE, USERS, dev_signer, send_through_a_contract, set_up

OTHER, RELAYER = dev_signer(2), dev_signer(3)
OTHER_TEE = LocalTeeSigner(b"\x08" * 32)
FUNDED = 20
CAP = 10**12
OPTIONS = Options(stuck_after=5, give_up_after=20, patience=0.2, first_pause=0.01)


class Node:
    """A chain in this process; `before` and `after` are called with the name of each method that is asked."""

    def __init__(self, chain: EmbeddedChain) -> None:
        self.chain = chain
        self.before: Callable[[str], None] = lambda _: None
        self.after: Callable[[str], None] = lambda _: None

    def request(self, method: str, params: Sequence[Any] = ()) -> Any:
        self.before(method)
        answer = self.chain.request(method, params)
        self.after(method)
        return answer


@dataclass
class World:
    """A network with users who have coins with two providers."""

    node: Node
    form: Form
    directory: Path

    def ask(self, what: Callable[[LiveChain, LiveChain], Awaitable[Any]]) -> Any:
        """Do something with the two providers' chains."""

        async def asking() -> Any:
            async with await AsyncConnection.open(self.node) as connection:
                return await what(await LiveChain.open(connection, PROVIDER), await LiveChain.open(connection, OTHER))

        return asyncio.run(asking())

    def settle(self, fees: dict[int, int] | None = None, options: Options = OPTIONS) -> Report:
        """Run once, with requests of these users for so much each."""

        async def settling() -> Report:
            async with await AsyncConnection.open(self.node) as connection:
                chain = await LiveChain.open(connection, PROVIDER)
                service = chain.service

                async def in_this_form() -> Service | None:
                    found = await service()
                    return None if found is None else replace(found, takes_batches=self.form == "batch")

                chain.service = in_this_form  # type: ignore[method-assign]
                with open_journal(
                    self.directory / "journal", Identity(31337, "0x", chain.contract, chain.provider)
                ) as journal:
                    return await Settlement(chain, journal, TEE, options).run(self._log(fees))

        return asyncio.run(settling())

    def _log(self, fees: dict[int, int] | None) -> UsageLog | None:
        if fees is None:
            return None
        rows = [{"id": f"r{user}", "user": USERS[user].address, "time": 1, "fee": fee} for user, fee in fees.items()]
        path = self.directory / "usage.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return UsageLog(path)

    def account(self, user: str) -> Account:
        async def accounts(chain: LiveChain, _: LiveChain) -> dict[str, Account]:
            return await chain.accounts([user])

        found: Account = self.ask(accounts)[user]
        return found

    def rpc(self, method: str, *params: Any) -> Any:
        return self.node.chain.request(method, list(params))

    def failed(self) -> int:
        """How many of the provider's transactions were mined and failed."""
        count = 0
        for number in range(int(self.rpc("eth_blockNumber"), 16) + 1):
            for sent in self.rpc("eth_getBlockByNumber", hex(number), True)["transactions"]:
                ours = int(sent["from"], 16) == int(PROVIDER.address, 16)
                count += ours and self.rpc("eth_getTransactionReceipt", sent["hash"])["status"] == "0x0"
        return count


@pytest.fixture(scope="module")
def deployed() -> EmbeddedChain:
    chain = EmbeddedChain()

    async def prepare() -> None:
        async with await AsyncConnection.open(chain) as connection:
            stage = await set_up(connection, USERS[:FUNDED], COIN)
            offer = Offer(
                service_type="chatbot", url="https://other.example/v1", model="model-2", verifiability="TeeML",
                input_price=1, output_price=1, additional_info="{}", tee_signer=to_checksum_address(OTHER_TEE.address),
            )  # fmt: skip
            await AsyncProvider(connection, OTHER).register(offer)
            await stage.owner.confirm(OTHER.address)
            for user in USERS[:2]:
                acting = stage.user(user)
                await acting.deposit(COIN)
                await acting.fund(OTHER.address, COIN)

    asyncio.run(prepare())
    return chain


@pytest.fixture(params=["batch", "entries"])
def world(deployed: EmbeddedChain, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[World]:
    snapshot = deployed.request("evm_snapshot", [])
    yield World(Node(deployed), request.param, tmp_path)
    deployed.request("evm_setAutomine", [True])
    assert deployed.request("evm_revert", [snapshot])


def sign(
    form: Form, contract: str, *rows: tuple[int, int, int], provider: str = PROVIDER.address, tee: LocalTeeSigner = TEE
) -> SignedSettlements:
    """Settlements as (number of the user, fee, nonce)."""
    settlements = tuple(
        UserSettlement(USERS[user].address, fee, nonce, bytes([nonce]) * 32) for user, fee, nonce in rows
    )
    if form == "batch":
        signatures = [tee.sign_typed(TEESettlementBatch(provider, settlements), 31337, contract)]
    else:
        signatures = [tee.sign_typed(TEESettlement(provider, row), 31337, contract) for row in settlements]
    return SignedSettlements(form, settlements, tuple(signatures))


async def send(chain: LiveChain, signed: SignedSettlements) -> Transaction:
    nonce = await chain.wallet_nonce()
    sent = await chain.prepare(signed, nonce, 10**7, CAP, worst_case_gas(len(signed.settlements)))
    await chain.broadcast(sent)
    return sent


def settle_through_a_contract(world: World, contract: str, data: bytes) -> str:
    async def sending() -> str:
        async with await AsyncConnection.open(world.node) as connection:
            return await send_through_a_contract(connection, RELAYER, contract, data)

    return asyncio.run(sending())


# ------------------------------------------------------------------------------------- what the chain accepted


def test_past_settlements_include_what_was_signed(world: World) -> None:
    """Two users, five transactions of ours, one of another provider in between, one through a contract."""

    async def play(chain: LiveChain, other: LiveChain) -> None:
        form, contract = world.form, chain.contract
        first = sign(form, contract, (0, 10, 1), (1, 20, 1))
        second = sign(form, contract, (1, 30, 2))
        others = sign(form, contract, (0, 7, 50), (1, 8, 50), provider=OTHER.address, tee=OTHER_TEE)
        third = sign(form, contract, (0, 2 * COIN, 3), (1, 40, 2))
        hashes = [(await send(chain, first)).hash, (await send(chain, second)).hash]
        foreign = (await send(other, others)).hash
        hashes.append((await send(chain, third)).hash)
        users = [USERS[0].address, USERS[1].address]
        past = await chain.past_settlements(users, 0)
        assert [(one.user, one.settlement, one.acceptance.outcome, one.acceptance.transaction) for one in past] == [
            (users[0], first.settlements[0], Outcome(Status.SUCCESS, 10), hashes[0]),
            (users[1], first.settlements[1], Outcome(Status.SUCCESS, 20), hashes[0]),
            (users[1], second.settlements[0], Outcome(Status.SUCCESS, 30), hashes[1]),
            (users[0], third.settlements[0], Outcome(Status.PARTIAL, COIN - 10), hashes[2]),
        ]
        for one in past:
            receipt = world.rpc("eth_getTransactionReceipt", one.acceptance.transaction)
            assert one.acceptance.block_number == int(receipt["blockNumber"], 16)
            assert one.acceptance.block_hash == receipt["blockHash"]
        assert await chain.past_settlements(users[1:], 0) == [past[1], past[2]]
        assert await chain.past_settlements(users, past[2].acceptance.block_number) == past[2:]
        assert await chain.past_settlements([USERS[2].address], 0) == []
        elsewhere = await other.past_settlements(users, 0)
        assert [one.acceptance.transaction for one in elsewhere] == [foreign] * 2
        assert [one.settlement for one in elsewhere] == list(others.settlements)

    world.ask(play)


def test_a_past_settlement_through_a_contract_lacks_what_was_signed(world: World) -> None:
    async def signed_by(chain: LiveChain, _: LiveChain) -> tuple[str, bytes]:
        return chain.contract, chain._wire.calldata(sign(world.form, chain.contract, (0, 10, 1), (1, 20, 1)))

    contract, data = world.ask(signed_by)
    transaction = settle_through_a_contract(world, contract, data)

    async def look(chain: LiveChain, other: LiveChain) -> list[PastSettlement]:
        users = [USERS[0].address, USERS[1].address]
        assert await other.past_settlements(users, 0) == []
        return await chain.past_settlements(users, 0)

    past = world.ask(look)
    assert [(one.user, one.settlement, one.acceptance.transaction) for one in past] == [
        (USERS[user].address, None, transaction) for user in (0, 1)
    ]
    assert [one.acceptance.outcome.status for one in past] == [Status.SUCCESS] * 2
    report = world.settle({0: 5, 2: 7})
    assert report.lines[USERS[0].address].wait is Wait.UNKNOWN_SETTLEMENT
    assert (report.paid, report.lines[USERS[2].address].paid) == (7, 7)


def test_exactly_the_transactions_of_a_batch_are_found(world: World) -> None:
    async def play(chain: LiveChain, other: LiveChain) -> None:
        form, contract = world.form, chain.contract
        signed = sign(form, contract, (0, 10, 5), (1, 20, 5))
        await send(chain, sign(form, contract, (0, 1, 1), (1, 1, 1)))
        await send(other, sign(form, contract, (0, 10, 5), (1, 20, 5), provider=OTHER.address, tee=OTHER_TEE))
        assert await chain.search(signed, 0) == []
        sent = [await send(chain, signed), await send(chain, signed)]
        found: list[Landed] = await chain.search(signed, 0)
        assert [one.transaction for one in found] == [one.hash for one in sent]
        assert [one.outcomes for one in found] == [
            (Outcome(Status.SUCCESS, 10), Outcome(Status.SUCCESS, 20)),
            (Outcome(Status.INVALID_NONCE, 0), Outcome(Status.INVALID_NONCE, 0)),
        ]
        assert found == [await chain.landed(one, signed) for one in sent]
        assert await chain.search(signed, found[1].mined.block_number) == found[1:]
        assert await chain.search(sign(form, contract, (0, 10, 5)), 0) == []

    world.ask(play)


# ---------------------------------------------------------------------------------- refunds before a settlement


LEAVING = 8
FEE = COIN // 2
SMALL = FEE // 8


def leave_before_it_is_mined(world: World) -> None:
    """When a run sends its first transaction, some users have asked for all their coins in five parts.

    `retrieveFund` asks for all that is free, and `transferFund` takes a part of that back. The settlement takes the
    four small parts, and some of the large one.
    """

    async def calls(chain: LiveChain, _: LiveChain) -> tuple[str, list[str]]:
        ledger = chain._network.ledger_contract
        ask = ledger.interface.encode("retrieveFund", [PROVIDER.address], chain._service)
        data = [ask]
        for parts in (4, 3, 2, 1):
            keep = ledger.interface.encode("transferFund", PROVIDER.address, chain._service, parts * SMALL)
            data += [keep, ask]
        return ledger.address, ["0x" + one.hex() for one in data]

    ledger, calldata = world.ask(calls)
    left = False

    def before(method: str) -> None:
        nonlocal left
        if method != "eth_sendRawTransaction" or left:
            return
        left = True
        world.rpc("evm_setAutomine", False)
        for user in USERS[:LEAVING]:
            world.rpc("anvil_impersonateAccount", user.address)
            for data in calldata:
                request = {"from": user.address, "to": ledger, "data": data, "gas": hex(300_000)}
                request["maxPriorityFeePerGas"] = request["maxFeePerGas"] = hex(10**11)
                world.rpc("eth_sendTransaction", request)

    def after(method: str) -> None:
        """One block with the users' transactions first, and the provider's."""
        if method == "eth_sendRawTransaction":
            world.rpc("evm_mine")
            world.rpc("evm_setAutomine", True)

    world.node.before, world.node.after = before, after


def test_refunds_requested_just_before_a_settlement_do_not_starve_it(world: World) -> None:
    leave_before_it_is_mined(world)
    report = world.settle(dict.fromkeys(range(FUNDED), FEE))
    assert (report.paid, report.unsettled, report.batches) == (FUNDED * FEE, 0, 1)
    assert world.failed() == 0
    for user in USERS[:LEAVING]:
        assert world.account(user.address).pending_refund == COIN - FEE
        assert len(world.account(user.address).refunds) == 1


def test_without_the_gas_reserve_refunds_starve_a_settlement(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "worst_case_gas", lambda _: 0)
    leave_before_it_is_mined(world)
    report = world.settle(dict.fromkeys(range(FUNDED), FEE))
    assert world.failed() == 1
    assert (report.paid, report.unsettled) == (FUNDED * FEE, 0), "it is sent again in halves"


# --------------------------------------------------------------------------------------------------- final blocks


class Tagged:
    """A node that is asked for the block tagged `finalized`."""

    def __init__(self, chain_id: int, newest: int, finalized: int | RpcError | None) -> None:
        self.chain_id = chain_id
        self._newest = newest
        self._finalized = finalized

    async def block_number(self) -> int:
        return self._newest

    async def rpc(self, method: str, params: Sequence[Any]) -> Any:
        assert (method, params) == ("eth_getBlockByNumber", ["finalized", False])
        if isinstance(self._finalized, RpcError):
            raise self._finalized
        return None if self._finalized is None else {"number": hex(self._finalized)}


def final_block(chain_id: int, newest: int, finalized: int | RpcError | None, depth: int | None) -> int:
    node: Any = Tagged(chain_id, newest, finalized)
    network: Any = SimpleNamespace(chain=node)
    chain = LiveChain(node, network, "", cast("Any", None), cast("Any", PROVIDER))
    return asyncio.run(chain.final_block(depth))


UNKNOWN_TAG = RpcError(-32602, "unknown block tag")


@pytest.mark.parametrize(
    ("chain_id", "finalized", "depth", "final"),
    [
        (16661, 900, None, 900),
        (16661, 900, 5, 900),
        (16661, 1000, None, 1000),
        (16661, 0, None, 0),
        (16661, UNKNOWN_TAG, None, 937),
        (16661, None, None, 937),
        (16661, UNKNOWN_TAG, 5, 996),
        (16661, None, 1, 1000),
        (31337, 900, None, 1000),
        (31337, 900, 5, 996),
        (31337, UNKNOWN_TAG, None, 1000),
        (31337, None, 2000, 0),
    ],
)  # fmt: skip
def test_which_block_is_final(chain_id: int, finalized: int | RpcError | None, depth: int | None, final: int) -> None:
    assert FINAL_DEPTH == 64
    assert final_block(chain_id, 1000, finalized, depth) == final


def test_a_final_block_that_the_chain_lacks_is_not_trusted() -> None:
    with pytest.raises(Disagreement, match="1001"):
        final_block(16661, 1000, 1001, None)


def test_the_local_chain_is_final_at_once(world: World) -> None:
    async def ask(chain: LiveChain, _: LiveChain) -> tuple[int, int, int]:
        return await chain.final_block(None), await chain.final_block(3), (await chain.head()).number

    final, deeper, newest = world.ask(ask)
    assert (final, deeper) == (newest, newest - 2)


# ---------------------------------------------------------------------------------------------------- the cap


def test_the_report_names_the_fee_that_a_stuck_transaction_needs(world: World) -> None:
    world.rpc("evm_setAutomine", False)
    world.settle({0: 10}, replace(OPTIONS, give_up_after=0.1))
    raw = world.rpc("eth_getBlockByNumber", "pending", True)["transactions"]
    (fee,) = [int(sent["maxFeePerGas"], 16) for sent in raw if int(sent["from"], 16) == int(PROVIDER.address, 16)]
    report = world.settle(None, replace(OPTIONS, stuck_after=0, max_gas_price=fee + 1))
    (note,) = report.notes
    needed = re.search(r"--max-fee '(\d+) wei' or more", note)
    assert needed, note
    assert fee < int(needed[1]) <= 2 * fee
    assert report.lines[USERS[0].address].wait is Wait.IN_FLIGHT
    report = world.settle(None, replace(OPTIONS, stuck_after=0, max_gas_price=int(needed[1])))
    assert report.replaced == 1
