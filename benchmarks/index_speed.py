# SPDX-License-Identifier: Apache-2.0
"""Measure how much CPU an index needs for a history of many events, against a node that answers at once.

    python benchmarks/index_speed.py                     100,000 events, most of them rows of batches of 50
    python benchmarks/index_speed.py --rows 1            every settlement is a transaction of its own
    python benchmarks/index_speed.py --events 400000     memory does not grow with the history
    python benchmarks/index_speed.py --index postgresql://USER@HOST/DB

The node runs in another process and makes up a chain: a ledger and an inference service, users who deposit and
transfer, and a provider who settles them again and again, with one transaction in each block. Its answers are those of
a node for such a chain, over HTTP. Only the index's process is measured, with JSON, HTTP, decoding and the database.
Memory is the peak resident size of that process minus that before the first step.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import multiprocessing
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import cached_property, lru_cache
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from typing import Any

from aiohttp import web
from eth_utils import keccak, to_checksum_address

from serving_network.chain.reading import AsyncReader
from serving_network.contracts import load
from serving_network.explorer.index.following import Follower
from serving_network.explorer.index.opening import Subject, reading, writing
from serving_network.store.location import Location, located

COIN = 10**18
CHAIN_ID = 31337
START = 1_767_225_600
LEDGER = to_checksum_address("0x" + "1e" * 20)
SERVICE = to_checksum_address("0x" + "5e" * 20)
OWNER = to_checksum_address("0x" + "0f" * 20)
PROVIDER = to_checksum_address("0x" + "b2" * 20)
TEE = to_checksum_address("0x" + "7e" * 20)
NAME = "inference-v1.0"
SETTLEMENTS_PER_USER = 40

Event = tuple[str, str, dict[str, Any]]
Sent = tuple[str, str, bytes, list[Event]]


def word(value: Any) -> bytes:
    """A value as an ABI word."""
    return bytes.fromhex(value[2:]).rjust(32, b"\0") if isinstance(value, str) else int(value).to_bytes(32, "big")


class MadeUpChain:
    """One transaction in each block: set-up, then deposits and transfers of users, and settlements of them."""

    def __init__(self, events: int, rows: int) -> None:
        self._rows = rows
        settlements = events * 10 // 11
        self._users = max(rows, settlements // SETTLEMENTS_PER_USER)
        batch_events = rows + 1
        self._batches = max(1, (events - 4 * self._users) // batch_events)
        self.head = 2 + 2 * self._users + self._batches
        self.sent = lru_cache(maxsize=8192)(self._sent)
        self.logs = lru_cache(maxsize=8192)(self._logs)

    @cached_property
    def interfaces(self) -> dict[str, Any]:
        return {LEDGER: load("LedgerManager"), SERVICE: load("InferenceServing")}

    @staticmethod
    @lru_cache(maxsize=65536)
    def user(number: int) -> str:
        return to_checksum_address(keccak(number.to_bytes(8, "big"))[12:])

    def _sent(self, block: int) -> Sent | None:
        """The transaction of a block: sender, recipient, calldata and events."""
        if block == 0:
            return None
        if block == 1:
            facts = {"owner": OWNER, "lockTime": 86_400, "ledgerAddress": LEDGER}
            return OWNER, SERVICE, b"", [(SERVICE, "ContractInitialized", facts)]
        if block == 2:
            call = self._call(LEDGER, "registerService", "inference", "v1.0", SERVICE, "")
            return (
                OWNER,
                LEDGER,
                call,
                [(LEDGER, "ServiceRegistered", {"serviceAddress": SERVICE, "serviceName": NAME})],
            )
        number = block - 3
        if number < 2 * self._users:
            user = self.user(number // 2)
            return self._deposit(user) if number % 2 == 0 else self._transfer(user)
        return self._settle(number - 2 * self._users)

    def _deposit(self, user: str) -> Sent:
        deposited = {"user": user, "payer": user, "amount": 9 * COIN, "availableBalance": 9 * COIN}
        events: list[Event] = [(LEDGER, "LedgerCreated", {"user": user}), (LEDGER, "Deposited", deposited)]
        return user, LEDGER, self._call(LEDGER, "depositFund"), events

    def _transfer(self, user: str) -> Sent:
        moved = {"user": user, "provider": PROVIDER, "service": SERVICE, "amount": 5 * COIN, "cancelledRefund": 0}
        balance = {"user": user, "provider": PROVIDER, "amount": 5 * COIN, "pendingRefund": 0}
        call = self._call(LEDGER, "transferFund", PROVIDER, NAME, 5 * COIN)
        return user, LEDGER, call, [(LEDGER, "FundsTransferred", moved), (SERVICE, "BalanceUpdated", balance)]

    def _settle(self, batch: int) -> Sent:
        fee = COIN // 1000
        rows, events = [], []
        for place in range(self._rows):
            number = batch * self._rows + place
            time_round, who = divmod(number, self._users)
            user = self.user(who)
            rows.append((int(user, 16) << 96 | fee, 1 + time_round, keccak(word(number))))
            settled = {"user": user, "status": 0, "paid": fee, "balance": 5 * COIN - fee * (1 + time_round)}
            events.append((SERVICE, "BatchRowSettled", settled))
        total = {"provider": PROVIDER, "rows": len(rows), "paid": fee * len(rows)}
        call = self._call(SERVICE, "settleBatchWithTEE", rows, bytes(65))
        return PROVIDER, SERVICE, call, [*events, (SERVICE, "BatchSettled", total)]

    def _call(self, contract: str, function: str, *args: Any) -> bytes:
        return bytes(self.interfaces[contract].interface.encode(function, *args))

    # ------------------------------------------------------------------------------------------- JSON-RPC

    def answer(self, method: str, params: list[Any]) -> Any:
        """What a node answers."""
        match method:
            case "eth_chainId":
                return hex(CHAIN_ID)
            case "eth_blockNumber":
                return hex(self.head)
            case "eth_getCode":
                return "0x" if params[1] == "0x0" else "0x00"
            case "eth_getBlockByNumber":
                return self.block(self.head if params[0] == "latest" else int(params[0], 16))
            case "eth_getLogs":
                first, last = int(params[0]["fromBlock"], 16), int(params[0]["toBlock"], 16)
                wanted = {one.lower() for one in params[0]["address"]}
                found = [log for block in range(first, last + 1) for log in self.logs(block)]
                return [log for log in found if log["address"] in wanted]
            case "eth_getTransactionByHash":
                return self.transaction(int(params[0][2:18], 16))
            case "eth_getTransactionReceipt":
                return self.receipt(int(params[0][2:18], 16))
            case "eth_call":
                return self.call(params[0]["data"])
        raise ValueError(method)

    def block(self, number: int) -> dict[str, Any]:
        return {
            "number": hex(number), "hash": block_hash(number), "parentHash": block_hash(number - 1),
            "timestamp": hex(START + 12 * number), "transactions": [transaction_hash(number)],
            "logsBloom": "0x" + "00" * 256, "miner": "0x" + "00" * 20, "gasLimit": "0x1c9c380", "gasUsed": "0x5208",
        }  # fmt: skip

    def _logs(self, block: int) -> list[dict[str, Any]]:
        sent = self.sent(block)
        return [] if sent is None else [self.log(block, index, event) for index, event in enumerate(sent[3])]

    def log(self, block: int, index: int, event: Event) -> dict[str, Any]:
        contract, name, args = event
        artifact = self.interfaces[contract]
        inputs = next(one for one in artifact.abi if one["type"] == "event" and one["name"] == name)["inputs"]
        topics = ["0x" + artifact.interface.topic(name).hex()]
        topics += ["0x" + word(args[one["name"]]).hex() for one in inputs if one["indexed"]]
        if name == "ServiceRegistered":
            data = word(32) + word(len(NAME)) + NAME.encode().ljust(32, b"\0")
        else:
            data = b"".join(word(args[one["name"]]) for one in inputs if not one["indexed"])
        return {
            "address": contract.lower(), "topics": topics, "data": "0x" + data.hex(), "blockNumber": hex(block),
            "blockHash": block_hash(block), "transactionHash": transaction_hash(block), "transactionIndex": "0x0",
            "logIndex": hex(index), "removed": False,
        }  # fmt: skip

    def transaction(self, block: int) -> dict[str, Any]:
        sender, recipient, data, _ = self.sent(block) or (OWNER, OWNER, b"", [])
        return {
            "hash": transaction_hash(block), "blockHash": block_hash(block), "blockNumber": hex(block),
            "transactionIndex": "0x0", "from": sender.lower(), "to": recipient.lower(), "input": "0x" + data.hex(),
            "value": "0x0", "nonce": "0x1", "gas": "0x5b8d80", "gasPrice": "0x3b9aca00", "type": "0x2",
            "maxFeePerGas": "0x3b9aca00", "maxPriorityFeePerGas": "0x3b9aca00", "chainId": hex(CHAIN_ID), "v": "0x0",
            "r": "0x" + "11" * 32, "s": "0x" + "22" * 32, "accessList": [],
        }  # fmt: skip

    def receipt(self, block: int) -> dict[str, Any]:
        return {
            "transactionHash": transaction_hash(block), "blockHash": block_hash(block), "blockNumber": hex(block),
            "status": "0x1", "contractAddress": None, "gasUsed": "0x30d40", "effectiveGasPrice": "0x3b9aca00",
            "logs": self.logs(block), "logsBloom": "0x" + "00" * 256,
        }  # fmt: skip

    def call(self, data: str) -> str:
        if data.startswith("0x" + self.interfaces[LEDGER].interface.selector("getServiceInfo").hex()):
            texts = [b"inference", b"v1.0", NAME.encode(), b""]
            offsets, tail = [], b""
            for text in texts:
                offsets.append(8 * 32 + len(tail))
                tail += word(len(text)) + (text.ljust(32, b"\0") if text else b"")
            words = [word(SERVICE), word(SERVICE), *map(word, offsets), word(0), word(START)]
            return "0x" + (word(32) + b"".join(words) + tail).hex()
        return "0x" + word(1).hex()


def block_hash(number: int) -> str:
    return "0x" + (number + 1).to_bytes(8, "big").hex() + "bb" * 24


def transaction_hash(block: int) -> str:
    return "0x" + block.to_bytes(8, "big").hex() + "cc" * 24


def serve(chain: MadeUpChain, pipe: Pipe) -> None:
    """Answer over HTTP until the parent ends. Sends the port."""

    async def answer(request: web.Request) -> web.Response:
        asked = json.loads(await request.read())
        many = asked if isinstance(asked, list) else [asked]
        answers = [
            {"jsonrpc": "2.0", "id": one["id"], "result": chain.answer(one["method"], one["params"])} for one in many
        ]
        return web.Response(text=json.dumps(answers if isinstance(asked, list) else answers[0]))

    async def run() -> None:
        app = web.Application(client_max_size=2**24)
        app.router.add_post("/", answer)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        pipe.send(runner.addresses[0][1])
        await asyncio.Event().wait()

    asyncio.run(run())


def peak_mib() -> float:
    """The peak resident size of this process."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


async def build(url: str, index: Location) -> Iterator[str]:
    """Index everything, and say what it took."""
    gc.set_threshold(100_000, 50, 100)  # as serving index run does
    chain = await AsyncReader.open(url)
    genesis = await chain.block_hash(0)
    with writing(index, Subject(chain.chain_id, str(genesis), LEDGER)) as db:
        follower = Follower(db, chain, LEDGER)
        memory, begun, clock = peak_mib(), time.process_time(), time.monotonic()
        steps = 0

        def step(_: object) -> None:
            nonlocal steps
            steps += 1

        await follower.catch_up(step)
    seconds, passed = time.process_time() - begun, time.monotonic() - clock
    await chain.close()
    with reading(index) as found:
        contents = found.contents()
    events = contents["events"]
    lines = [
        f"{events} events in {contents['transactions']} transactions, {steps} steps",
        f"{seconds:.1f} s of CPU, {1e6 * seconds / events:.0f} us per event; {passed:.1f} s passed",
        f"{peak_mib() - memory:.0f} MiB more memory than before the first step",
    ]
    if isinstance(index, Path):
        lines.append(f"{index.stat().st_size / events:.0f} bytes of database per event")
    return iter(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--rows", type=int, default=50, help="settled rows of a transaction")
    parser.add_argument("--index", help="default: a temporary SQLite file")
    options = parser.parse_args()
    ours, theirs = multiprocessing.Pipe()
    node = multiprocessing.Process(target=serve, args=(MadeUpChain(options.events, options.rows), theirs), daemon=True)
    node.start()
    with tempfile.TemporaryDirectory() as directory:
        index = located(options.index, Path(directory)) if options.index else Path(directory) / "index"
        for line in asyncio.run(build(f"http://127.0.0.1:{ours.recv()}", index)):
            sys.stdout.write(line + "\n")
    node.terminate()


if __name__ == "__main__":
    main()
