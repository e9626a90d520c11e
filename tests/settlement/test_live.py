# SPDX-License-Identifier: Apache-2.0
"""Runs against the real contracts, on a node that is honest, slow, forgetful, or lies."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving_network.chain.connection import AsyncConnection
from serving_network.chain.fees import REPLACEMENT_PERCENT
from serving_network.chain.transport import TransientFailure
from serving_network.clients.read.books import BookLine, network_books
from serving_network.clients.read.network import AsyncNetwork
from serving_network.contracts.models import Status
from serving_network.errors import NodeFailure, RpcError, ServingError, TransactionPending
from serving_network.localchain import EmbeddedChain
from serving_network.money import describe
from serving_network.settlement.chain import Service
from serving_network.settlement.journal import open_journal
from serving_network.settlement.journal.records import Transaction
from serving_network.settlement.live import GasPriceAboveCap, LiveChain, WalletRefusesCoins
from serving_network.settlement.options import Options
from serving_network.settlement.planning import Wait
from serving_network.settlement.report import Report
from serving_network.settlement.runner import Settlement
from serving_network.store.opening import Identity
from serving_network.usage_logs.reader import UsageLog
from tests.settlement.stage import COIN, PROVIDER, TEE, USERS, Stage, prepare_in_process

Requests = list[tuple[str, int, int]]
"""Request id, number of the user, fee in wei."""

FUNDED = 4
OPTIONS = Options(stuck_after=0.4, give_up_after=3, patience=0.2, first_pause=0.01)


def honest(_: str, __: Any, result: Any) -> Any:
    """The answer as it is."""
    return result


class Node:
    """A chain in this process behind a node that may answer otherwise."""

    def __init__(self, chain: EmbeddedChain) -> None:
        self.chain = chain
        self.answer: Callable[[str, Any, Any], Any] = honest
        self.refuse: Callable[[str], RpcError | None] = lambda _: None
        self.asked: list[str] = []

    def request(self, method: str, params: Sequence[Any] = ()) -> Any:
        self.asked.append(method)
        refusal = self.refuse(method)
        if refusal is not None:
            raise refusal
        return self.answer(method, params, self.chain.request(method, params))


class World:
    """The node, a run's directory, and how the service is settled with."""

    def __init__(self, node: Node, directory: Path, form: str) -> None:
        self.node = node
        self.directory = directory
        self.form = form

    def settle(self, requests: Requests | None = None, options: Options = OPTIONS) -> Report:
        report = asyncio.run(self._settle(requests, options))
        assert report.fee == report.paid + report.unsettled
        return report

    async def _settle(self, requests: Requests | None, options: Options) -> Report:
        async with await AsyncConnection.open(self.node) as connection:
            chain = await self.open_chain(connection)
            identity = Identity(31337, "0x", chain.contract, chain.provider)
            with open_journal(self.directory / "journal", identity) as journal:
                log = None if requests is None else UsageLog(self._write(requests))
                return await Settlement(chain, journal, TEE, options).run(log)

    async def open_chain(self, connection: AsyncConnection) -> LiveChain:
        chain = await LiveChain.open(connection, PROVIDER)
        if self.form == "entries":
            batches = chain.service

            async def without_batches() -> Service | None:
                found = await batches()
                return None if found is None else replace(found, takes_batches=False)

            chain.service = without_batches  # type: ignore[method-assign]
        return chain

    def _write(self, requests: Requests) -> Path:
        path = self.directory / "usage.jsonl"
        rows = [{"id": key, "user": USERS[user].address, "time": 1, "fee": fee} for key, user, fee in requests]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return path

    def act(self, what: Callable[[Stage], Awaitable[object]]) -> None:
        """Let somebody act on the network."""

        async def acting() -> None:
            async with await AsyncConnection.open(self.node.chain) as connection:
                await what(await Stage.on(connection))

        asyncio.run(acting())

    def balance(self, user: int) -> int:
        async def ask() -> int:
            async with await AsyncConnection.open(self.node.chain) as connection:
                account = await AsyncNetwork(connection).account(USERS[user].address, PROVIDER.address)
                return 0 if account is None else account.balance

        return asyncio.run(ask())

    def books(self) -> list[BookLine]:
        async def ask() -> list[BookLine]:
            async with await AsyncConnection.open(self.node.chain) as connection:
                return (await network_books(AsyncNetwork(connection))).lines

        return asyncio.run(ask())

    def transactions(self) -> list[Transaction]:
        """Those of the first batch."""

        async def ask() -> list[Transaction]:
            async with await AsyncConnection.open(self.node.chain) as connection:
                chain = await self.open_chain(connection)
                identity = Identity(31337, "0x", chain.contract, chain.provider)
                with open_journal(self.directory / "journal", identity) as journal:
                    return list(journal.batch(1).transactions)

        return asyncio.run(ask())

    def rpc(self, method: str, *params: Any) -> Any:
        return self.node.chain.request(method, list(params))


@pytest.fixture(scope="module")
def deployed() -> EmbeddedChain:
    chain = EmbeddedChain()
    prepare_in_process(chain, USERS[:FUNDED], COIN)
    return chain


@pytest.fixture(params=["batch", "entries"])
def world(deployed: EmbeddedChain, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[World]:
    snapshot = deployed.request("evm_snapshot", [])
    yield World(Node(deployed), tmp_path, request.param)
    deployed.request("evm_setAutomine", [True])
    assert deployed.request("evm_revert", [snapshot])


def test_a_log_becomes_payments(world: World) -> None:
    report = world.settle([("a", 0, 10), ("b", 1, 20), ("c", 0, 5), ("d", FUNDED, 7)])
    assert (report.paid, report.unsettled, report.batches) == (35, 7, 1)
    assert [world.balance(user) for user in range(2)] == [COIN - 15, COIN - 20]
    assert report.lines[USERS[FUNDED].address].wait is Wait.NO_ACCOUNT
    assert [line.surplus for line in world.books()] == [0, 0]
    again = world.settle([("c", 0, 5), ("d", FUNDED, 7), ("a", 0, 10), ("b", 1, 20)])
    assert (again.paid, again.known_requests) == (0, 4)


def test_a_chain_without_new_blocks_is_settled(world: World) -> None:
    """Nodes refuse to list the events of a range that ends before it begins."""
    for requests in ([("a", 0, 10)], [("b", 0, 5)]):
        number = world.rpc("eth_blockNumber")
        assert world.settle([]).paid == 0
        assert world.rpc("eth_blockNumber") == number
        assert world.settle(requests).paid == sum(fee for _, _, fee in requests)
    assert world.balance(0) == COIN - 15


def test_a_short_balance_is_taken_whole_and_the_rest_paid_later(world: World) -> None:
    report = world.settle([("a", 0, COIN // 2), ("b", 0, COIN)])
    line = report.lines[USERS[0].address]
    assert (line.status, line.paid, line.unsettled, line.wait) == (Status.PARTIAL, COIN, COIN // 2, Wait.PAID_IN_PART)
    assert world.settle().lines[USERS[0].address].wait is Wait.NO_MONEY
    world.act(lambda stage: stage.fund(USERS[0], 2 * COIN))
    assert (world.settle().paid, world.balance(0)) == (COIN // 2, 3 * COIN // 2)


def test_a_refund_is_at_risk_until_it_is_settled(world: World) -> None:
    world.act(lambda stage: stage.user(USERS[2]).retrieve([PROVIDER.address]))
    report = world.settle([("a", 0, 10), ("b", 2, COIN // 4)])
    stake = report.lines[USERS[2].address].stake
    assert stake is not None
    assert (stake.leaving, stake.endangered) == (COIN, COIN // 4)
    assert (report.paid, world.balance(2)) == (COIN // 4 + 10, 3 * COIN // 4)


def test_a_wallet_that_refuses_coins_is_detected_before_sending(world: World) -> None:
    world.rpc("anvil_setCode", PROVIDER.address, "0x60006000fd")
    report = world.settle([("a", 0, 10)])
    assert isinstance(report.stopped_by, WalletRefusesCoins)
    assert "eth_sendRawTransaction" not in world.node.asked
    world.rpc("anvil_setCode", PROVIDER.address, "0x")
    assert world.settle().paid == 10


def test_gas_above_the_cap_sends_nothing(world: World) -> None:
    report = world.settle([("a", 0, 10)], replace(OPTIONS, max_gas_price=1))
    assert isinstance(report.stopped_by, GasPriceAboveCap)
    assert "eth_sendRawTransaction" not in world.node.asked


def test_a_batch_is_limited_by_gas(world: World) -> None:
    report = world.settle([(str(user), user, 10) for user in range(FUNDED)], replace(OPTIONS, gas_limit=100_000))
    assert (report.paid, report.stopped_by) == (40, None)
    assert report.batches > 1


def test_a_stuck_transaction_is_replaced_and_one_is_mined(world: World) -> None:
    world.rpc("evm_setAutomine", False)
    report = world.settle([("a", 0, 10)], replace(OPTIONS, give_up_after=1))
    assert isinstance(report.stopped_by, TransactionPending)
    assert report.replaced >= 1
    world.rpc("evm_mine")
    report = world.settle()
    assert (report.taken_up_paid, report.paid, world.balance(0)) == (10, 0, COIN - 10)


def test_a_transaction_stuck_at_the_cap_is_reported_with_the_fee_it_needs(world: World) -> None:
    world.rpc("evm_setAutomine", False)
    world.settle([("a", 0, 10)], replace(OPTIONS, stuck_after=60, give_up_after=0.1))
    (stuck,) = world.transactions()
    needed = -(-stuck.max_fee_per_gas * (100 + REPLACEMENT_PERCENT) // 100)
    report = world.settle([("b", 1, 5)], replace(OPTIONS, stuck_after=0, give_up_after=0.1, max_gas_price=needed - 1))
    (note,) = [note for note in report.notes if "Batch 1 of an earlier run is still waiting" in note]
    assert f"Replacing it requires {describe(needed)} per gas, the cap is {describe(needed - 1)}." in note
    assert f"--max-fee '{needed} wei' or more" in note
    assert (report.replaced, len(world.transactions())) == (0, 1)
    assert report.new_requests == 1
    report = world.settle(None, replace(OPTIONS, stuck_after=0, max_gas_price=needed))
    assert report.replaced >= 1
    assert world.transactions()[1].max_fee_per_gas == needed
    world.rpc("evm_mine")
    world.rpc("evm_setAutomine", True)
    world.settle()
    assert (world.settle().unsettled, world.balance(0), world.balance(1)) == (0, COIN - 10, COIN - 5)


def test_a_batch_survives_another_transaction_taking_its_nonce(world: World) -> None:
    world.rpc("evm_setAutomine", False)
    world.settle([("a", 0, 10)], replace(OPTIONS, give_up_after=0.1))
    nonce = int(world.rpc("eth_getTransactionCount", PROVIDER.address, "latest"), 16)
    world.rpc("anvil_setNonce", PROVIDER.address, hex(nonce + 1))
    world.rpc("evm_setAutomine", True)
    report = world.settle()
    assert (report.taken_up, report.taken_up_paid, report.paid, world.balance(0)) == (1, 0, 10, COIN - 10)
    assert any("could not be mined" in note for note in report.notes)


def test_a_reorganised_block_is_settled_again(world: World) -> None:
    world.act(lambda stage: stage.fund(USERS[3], 1))
    snapshot = world.rpc("evm_snapshot")
    assert world.settle([("a", 0, 10)]).paid == 10
    world.rpc("evm_revert", snapshot)
    world.rpc("evm_increaseTime", 5)
    world.rpc("evm_mine")
    assert world.balance(0) == COIN
    report = world.settle([("b", 0, 1)])
    assert (report.taken_up, report.paid, report.unsettled, world.balance(0)) == (1, 11, 0, COIN - 11)


def without_logs(method: str, _: Any, result: Any) -> Any:
    """Receipts without their events."""
    return result | {"logs": []} if method == "eth_getTransactionReceipt" and result else result


def without_receipts(method: str, _: Any, result: Any) -> Any:
    """No receipts, and no events either."""
    return None if method == "eth_getTransactionReceipt" else [] if method == "eth_getLogs" else result


def failed(method: str, _: Any, result: Any) -> Any:
    """Receipts that say the transaction failed."""
    return result | {"status": "0x0", "logs": []} if method == "eth_getTransactionReceipt" and result else result


def other_users(method: str, _: Any, result: Any) -> Any:
    """Events that name somebody else."""
    if method == "eth_getTransactionReceipt" and result:
        for log in result["logs"]:
            log["topics"] = [log["topics"][0], *("0x" + "00" * 12 + "11" * 20 for _ in log["topics"][1:])]
    return result


def cut(method: str, _: Any, result: Any) -> Any:
    """Receipts of which half is missing."""
    return {"status": "0x1", "blockNumber": None} if method == "eth_getTransactionReceipt" and result else result


def of_another(method: str, _: Any, result: Any) -> Any:
    """Receipts of another transaction."""
    return (
        result | {"transactionHash": "0x" + "cd" * 32} if method == "eth_getTransactionReceipt" and result else result
    )


def of_two_blocks(method: str, _: Any, result: Any) -> Any:
    """Receipts whose events are of another block than they are."""
    return result | {"blockHash": "0x" + "cd" * 32} if method == "eth_getTransactionReceipt" and result else result


def twice(method: str, _: Any, result: Any) -> Any:
    """Events that come twice, in receipts and in listings."""
    if method == "eth_getTransactionReceipt" and result:
        return result | {"logs": result["logs"] * 2}
    return result * 2 if method == "eth_getLogs" else result


def words(method: str, _: Any, result: Any) -> Any:
    """Words where numbers belong."""
    return "soon" if method == "eth_getTransactionCount" else result


@pytest.mark.parametrize(
    "lie", [without_logs, without_receipts, failed, other_users, cut, of_another, of_two_blocks, twice, words]
)
def test_a_false_receipt_is_not_booked_and_the_true_one_is_found_later(
    world: World, lie: Callable[[str, Any, Any], Any]
) -> None:
    world.node.answer = lie
    try:
        report = world.settle([("a", 0, 10)])
    except ServingError as error:
        told: ServingError | None = error
    else:
        told = report.stopped_by
        assert report.paid == 0
    assert isinstance(told, (NodeFailure, TransactionPending))
    world.node.answer = honest
    report = world.settle()
    assert (report.taken_up_paid + report.paid, world.balance(0)) == (10, COIN - 10)


@pytest.mark.parametrize(
    "method",
    [
        "eth_call",
        "eth_blockNumber",
        "eth_getBlockByNumber",
        "eth_getTransactionCount",
        "eth_estimateGas",
        "eth_sendRawTransaction",
        "eth_getTransactionReceipt",
        "eth_getLogs",
    ],
)
def test_a_node_that_stops_answering_loses_nothing(world: World, method: str) -> None:
    refused = 0

    def refuse(asked: str) -> RpcError | None:
        nonlocal refused
        refused += asked == method
        return RpcError(-32000, "internal error") if asked == method and refused > 1 else None

    world.node.refuse = refuse
    with contextlib.suppress(ServingError):
        report = world.settle([("a", 0, 10)])
        assert report.stopped_by is not None or report.paid == 10
    world.node.refuse = lambda _: None
    world.settle([("a", 0, 10)])
    assert (world.settle().unsettled, world.balance(0)) == (0, COIN - 10)


def lost(*_: Any) -> Any:
    """HTTP 429, 500, a reset connection, a time-out: what was asked may have been done."""
    raise TransientFailure("the connection was reset")


def refused(*_: Any) -> Any:
    """Refused, though what was asked was done."""
    raise RpcError(-32000, "internal error")


def nothing(*_: Any) -> Any:
    """Null in place of an answer."""
    return None


def half(_: str, __: Any, result: Any) -> Any:
    """Half of the answer, whatever it is."""
    if isinstance(result, dict):
        return dict(list(result.items())[: len(result) // 2])
    return result[: len(result) // 2] if isinstance(result, str | list) else result


def other_chain(method: str, _: Any, result: Any) -> Any:
    """The id of another chain."""
    return "0x1" if method == "eth_chainId" else result


FAULTS = [lost, refused, nothing, half, other_chain, without_logs, without_receipts, of_another, twice]


@settings(max_examples=12)
@given(
    form=st.sampled_from(["batch", "entries"]),
    faults=st.lists(st.tuples(st.integers(0, 60), st.integers(1, 8), st.sampled_from(FAULTS)), max_size=4),
)
def test_whatever_a_node_answers_every_wei_is_paid_once(
    deployed: EmbeddedChain,
    tmp_path_factory: pytest.TempPathFactory,
    form: str,
    faults: list[tuple[int, int, Callable[[str, Any, Any], Any]]],
) -> None:
    snapshot = deployed.request("evm_snapshot", [])
    world = World(Node(deployed), tmp_path_factory.mktemp("run"), form)
    requests: Requests = [("a", 0, 10), ("b", 1, 7), ("c", 0, 5)]
    asked = 0

    def answer(method: str, params: Any, result: Any) -> Any:
        nonlocal asked
        asked += 1
        for first, length, fault in faults:
            if first <= asked < first + length:
                result = fault(method, params, result)
        return result

    world.node.answer = answer
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("serving_network.chain.node.FIRST_PAUSE", 0.0001)
        patch.setattr("serving_network.chain.sender.SURE_AFTER", 0.1)
        for _ in range(2):
            try:
                told = world.settle(requests).stopped_by
            except ServingError as error:
                told = error
            assert told is None or told.next_step
        world.node.answer = honest
        report = world.settle(requests)
    assert (report.unsettled, report.stopped_by) == (0, None)
    assert (world.balance(0), world.balance(1)) == (COIN - 15, COIN - 7)
    deployed.request("evm_revert", [snapshot])


def test_settlements_on_another_contract_are_ignored(world: World) -> None:
    """A provider with two services settles both with one wallet: neither run waits until the other is final."""
    world.settle([("a", 0, 10)])

    def another_contract(method: str, params: Any, result: Any) -> Any:
        if method == "eth_getBlockByNumber" and params[1]:
            return result | {"transactions": [one | {"to": USERS[2].address} for one in result["transactions"]]}
        return result

    async def calls() -> int:
        async with await AsyncConnection.open(world.node) as connection:
            return len(await (await world.open_chain(connection)).calls_since(0))

    assert asyncio.run(calls()) == 1
    world.node.answer = another_contract
    assert asyncio.run(calls()) == 0


def test_results_of_a_strangers_transaction_are_ignored(world: World) -> None:
    """A transaction through a contract settled for another provider, and changed a balance with this one.

    The result of a batch names its provider, so that it cannot be taken for another's.
    """
    world.settle([("a", 0, 10)])

    def through_a_contract(method: str, _: Any, result: Any) -> Any:
        if method == "eth_getTransactionByHash":
            return result | {"from": USERS[3].address, "to": USERS[2].address}
        return result

    async def past() -> tuple[int, int]:
        async with await AsyncConnection.open(world.node) as connection:
            chain = await world.open_chain(connection)
            service = await chain.service()
            assert service is not None
            shown = await chain.past_settlements([USERS[0].address], 0)
            return len(await chain.paid_since(0, service.form, ())), len(shown)

    assert asyncio.run(past()) == (1, 1)
    world.node.answer = through_a_contract
    assert asyncio.run(past()) == ((1, 1) if world.form == "batch" else (0, 0))
    world.rpc("anvil_setCode", PROVIDER.address, "0x00")
    assert asyncio.run(past()) == (1, 1), "a wallet with code can settle through a contract"


def test_the_journal_refuses_another_chain_behind_the_url(world: World) -> None:
    world.settle([("a", 0, 10)])

    async def elsewhere() -> None:
        async with await AsyncConnection.open(world.node) as connection:
            chain = await world.open_chain(connection)
            with open_journal(world.directory / "journal", Identity(1, "0x", chain.contract, chain.provider)):
                pass

    with pytest.raises(ServingError, match="another chain id"):
        asyncio.run(elsewhere())
