# SPDX-License-Identifier: Apache-2.0
"""Random histories of a network, followed by an index that is killed and resumed, on a chain that is reorganised.

    python -m tests.explorer.index.histories --count 500 --seed 1

Everybody does anything: users, providers, owners, contracts that call for their providers, and services that others
wrote. Most transactions have an effect, some fail. At the end the index is the same as one that read the chain in one
pass, and agrees with the contracts.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from eth_utils import to_checksum_address

from serving_network.chain.reading import AsyncReader
from serving_network.clients.read.network import LOCAL_LEDGER
from serving_network.contracts import load
from serving_network.contracts.models import ZERO_ADDRESS
from serving_network.errors import RpcError
from serving_network.explorer.index.account_words import penalty_flag, slot_of
from serving_network.explorer.index.following import Follower
from serving_network.explorer.index.found import Checked
from serving_network.explorer.index.opening import Subject, reading, writing
from serving_network.explorer.index.reconciling import reconcile
from serving_network.explorer.index.schema import TABLES
from serving_network.localchain import EmbeddedChain
from serving_network.messages.tee_signing import typed_digest
from serving_network.messages.typed_data import (
    TEESettlement,
    TEESettlementBatch,
    UserSettlement,
    VerifierMessage,
)
from serving_network.store.location import Location
from serving_network.testing import LocalNetwork
from serving_network.wallet.local import LocalTeeSigner
from tests.stateful.world import compiled

COIN = 10**18
GAS = 5_000_000
TEES = [LocalTeeSigner(bytes([number]) * 32) for number in (1, 2, 3)]
INFERENCE, FINE_TUNING = "InferenceServing", "FineTuningServing"


class Killed(BaseException):
    """Ends a follower at once, like kill -9."""


@dataclass
class Node:
    """A node that can be killed in the middle, and counts what it is asked."""

    chain: EmbeddedChain
    left: int | None = None
    before: Callable[[str, list[Any]], None] = lambda *_: None
    asked: list[str] = field(default_factory=list)

    def request(self, method: str, params: list[Any]) -> Any:
        """The chain's answer. Raises Killed."""
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                raise Killed
        self.asked.append(method)
        self.before(method, params)
        return self.chain.request(method, params)


class Town:
    """A network on a chain of this process, and everybody who uses it. Nothing is signed but settlements."""

    def __init__(self, network: LocalNetwork) -> None:
        self.chain = network.chain
        self.chain.request("hardhat_autoImpersonateAccount", [True])
        services: dict[str, str] = {one.kind: one.address for one in network.reader.services()}
        self.ledger: str = LOCAL_LEDGER
        self.inference, self.fine_tuning = services["inference"], services["fine-tuning"]
        self.abi: dict[str, str] = {
            self.ledger: "LedgerManager",
            self.inference: INFERENCE,
            self.fine_tuning: FINE_TUNING,
        }
        self.names: dict[str, str] = {self.inference: "inference-v1.0", self.fine_tuning: "fine-tuning-v1.1"}
        self.owner = network.signer(0).address
        self.users = [network.signer(number).address for number in (1, 2, 3, 4)]
        self.puppet = self.create(compiled("Puppet")[0])
        self.chain.request("hardhat_setBalance", [self.puppet, hex(10_000 * COIN)])
        self.providers = [network.signer(5).address, network.signer(6).address, self.puppet]
        given = bytes.fromhex(self.ledger[2:]).rjust(32, b"\0")
        self.foreign = [self.create(compiled("Foreign")[0] + given + bytes(31) + bytes([book])) for book in (0, 1)]

    @contextlib.contextmanager
    def reset_afterwards(self) -> Iterator[None]:
        """Undo at the end what happens inside the block."""
        mark, abi, names = self.chain.request("evm_snapshot", []), dict(self.abi), dict(self.names)
        try:
            yield
        finally:
            self.chain.request("evm_revert", [mark])
            self.abi, self.names = abi, names

    def create(self, code: bytes) -> str:
        """Deploy a contract."""
        sent = self.chain.request(
            "eth_sendTransaction", [{"from": self.owner, "data": "0x" + code.hex(), "gas": hex(GAS)}]
        )
        return to_checksum_address(self.chain.request("eth_getTransactionReceipt", [sent])["contractAddress"])

    def send(self, sender: str, to: str, function: str, *args: Any, value: int = 0, abi: str | None = None) -> None:
        """One transaction, which may fail. A contract calls through a transaction of the owner's."""
        data = load(abi or self.abi[to]).interface.encode(function, *args)
        if sender == self.puppet:
            data = compiled("Puppet")[1].encode("run", to, value, data)
            sender, to, value = self.owner, self.puppet, 0
        sent = {"from": sender, "to": to, "data": "0x" + data.hex(), "gas": hex(GAS), "value": hex(value)}
        with contextlib.suppress(RpcError):
            self.chain.request("eth_sendTransaction", [sent])


@dataclass
class History:
    """Random actions, from a seed."""

    town: Town
    chance: random.Random
    deliverables: int = 0
    versions: int = 0
    nonces: int = 10**6

    def act(self) -> None:
        """One random transaction."""
        one = self.chance.choice(_ACTIONS)
        one(self)

    @property
    def user(self) -> str:
        return self.chance.choice([*self.town.users, self.town.puppet])

    @property
    def provider(self) -> str:
        return self.chance.choice(self.town.providers)

    @property
    def service(self) -> str:
        return self.chance.choice([self.town.inference, self.town.fine_tuning])

    def amount(self) -> int:
        """Some coins, or a few wei more."""
        return self.chance.randrange(1, 9) * COIN + self.chance.choice([0, 0, self.chance.randrange(COIN)])

    def deposit(self) -> None:
        kind = self.chance.randrange(3)
        if kind == 0:
            self.town.send(
                self.user, self.town.ledger, "addLedger", self.chance.choice(["", "from\0 a user"]), value=self.amount()
            )
        elif kind == 1:
            self.town.send(self.user, self.town.ledger, "depositFundFor", self.user, value=self.amount())
        else:
            self.town.send(self.user, self.town.ledger, "depositFund", value=self.amount())

    def withdraw(self) -> None:
        kind = self.chance.randrange(4)
        if kind == 0:
            self.town.send(self.user, self.town.ledger, "refundAll")
        elif kind == 1:
            self.town.send(self.user, self.town.ledger, "deleteLedger")
        else:
            self.town.send(self.user, self.town.ledger, "refund", self.amount())

    def describe(self) -> None:
        self.town.send(self.user, self.town.ledger, "updateAdditionalInfo", f"info {self.chance.randrange(3)}")

    def transfer(self) -> None:
        names = list(self.town.names.values())
        amount = self.chance.choice([0, self.amount(), self.amount()])
        self.town.send(self.user, self.town.ledger, "transferFund", self.provider, self.chance.choice(names), amount)

    def retrieve(self) -> None:
        names = list(self.town.names.values())
        if self.chance.random() < 0.5:
            self.town.chain.request("evm_increaseTime", [self.chance.choice([600, 40_000, 90_000])])
        providers = self.chance.sample(self.town.providers, self.chance.randrange(1, 4))
        self.town.send(self.user, self.town.ledger, "retrieveFund", providers, self.chance.choice(names))

    def register(self) -> None:
        tee = self.chance.choice(TEES).address
        stake = self.chance.choice([0, 100 * COIN])
        if self.service == self.town.inference:
            offer = (
                "chatbot", f"https://{self.chance.randrange(3)}", self.chance.choice(["m", "n\0"]), "TeeML",
                self.chance.randrange(9), 2**100, self.chance.choice(["", "x"]), tee,
            )  # fmt: skip
            self.town.send(self.provider, self.town.inference, "addOrUpdateService", offer, value=stake)
        else:
            job = ("https://t", (1, 2, 3, 4, "H100"), self.chance.randrange(9), bool(stake), ["a", "b\0"], tee)
            self.town.send(self.provider, self.town.fine_tuning, "addOrUpdateService", *job, value=stake)

    def leave(self) -> None:
        if self.chance.random() < 0.3:
            self.town.send(self.provider, self.service, "removeService")

    def confirm(self) -> None:
        name = "acknowledgeTEESignerByOwner" if self.chance.random() < 0.8 else "revokeTEESignerAcknowledgement"
        self.town.send(self.town.owner, self.service, name, self.provider)

    def acknowledge(self) -> None:
        """Acknowledge a provider or not, which an account without coins allows, and let the provider look at it."""
        user, provider, service = self.user, self.provider, self.service
        if self.chance.random() < 0.5:
            name = self.town.names[service]
            for seconds in (0, 90_000):
                self.town.chain.request("evm_increaseTime", [seconds])
                self.town.send(user, self.town.ledger, "retrieveFund", [provider], name)
        self.town.send(user, service, "acknowledgeTEESigner", provider, self.chance.random() < 0.5)
        if self.chance.random() < 0.5:
            self.settle(provider, user)

    def rule(self) -> None:
        """Something that only owners do."""
        town, service = self.town, self.service
        match self.chance.randrange(7):
            case 0:
                town.send(town.owner, service, "updateLockTime", self.chance.choice([3600, 86_400]))
            case 1:
                town.send(town.owner, town.fine_tuning, "updatePenaltyPercentage", self.chance.randrange(101))
            case 2:
                town.send(town.owner, service, "offerOwnership", self.chance.choice([ZERO_ADDRESS, self.user]))
            case 3:
                new = self._implementation(service)
                town.send(town.owner, self._beacon(service), "upgradeTo", new, abi="UpgradeableBeacon")
            case 4:
                town.send(town.owner, town.ledger, "setRecommendedService", "inference", "v1.0")
            case 5:
                self.versions += 1
                foreign = self.chance.choice(town.foreign)
                type_ = self.chance.choice(["other", "inference"])
                name = f"{type_}-f{self.versions}"
                town.send(
                    town.owner, town.ledger, "registerService", type_, f"f{self.versions}", foreign, "by others\0"
                )
                registered = town.chain.request(
                    "eth_call",
                    [
                        {
                            "to": town.ledger,
                            "data": "0x" + load("LedgerManager").interface.encode("getServiceInfo", foreign).hex(),
                        }
                    ],
                )
                full = load("LedgerManager").interface.decode_result("getServiceInfo", bytes.fromhex(registered[2:]))
                if full["fullName"] == name:
                    town.names[foreign] = name
            case 6:
                self._new_version()

    def _beacon(self, front: str) -> str:
        code = bytes.fromhex(self.town.chain.request("eth_getCode", [front, "latest"])[2:])
        return to_checksum_address(code[1:21])

    def _implementation(self, front: str) -> str:
        data = load("UpgradeableBeacon").interface.encode("implementation").hex()
        answer = self.town.chain.request("eth_call", [{"to": self._beacon(front), "data": "0x" + data}, "latest"])
        return to_checksum_address(answer[-40:])

    def _new_version(self) -> None:
        """A second inference service, which providers use before the ledger knows it."""
        town = self.town
        if list(town.abi.values()).count(INFERENCE) > 1 or not town.chain.request("hardhat_getAutomine", []):
            return
        implementation = self._implementation(town.inference)
        beacon = town.create(load("UpgradeableBeacon").creation_code(implementation))
        data = load(INFERENCE).interface.encode("initialize", 7_200, town.ledger, town.owner)
        front = town.create(load("BeaconProxy").creation_code(beacon, data))
        town.abi[front] = INFERENCE
        town.send(self.provider, front, "addOrUpdateService", _OFFER, value=100 * COIN)
        for _ in range(self.chance.randrange(3)):
            self.act()
        self.versions += 1
        town.send(town.owner, town.ledger, "registerService", "inference", f"n{self.versions}", front, "")
        town.names[front] = f"inference-n{self.versions}"

    def settle(self, provider: str | None = None, user: str | None = None) -> None:
        """Settle users of one provider, in either form, with good and bad rows."""
        provider, tee = provider or self.provider, self.chance.choice(TEES)
        users = [user or self.user, *(self.user for _ in range(self.chance.randrange(5)))]
        rows = [self._row(user) for user in users]
        if self.chance.random() < 0.6:
            signature = tee._sign_digest(typed_digest(TEESettlementBatch(provider, rows), 31337, self.town.inference))
            packed = [(int(row.user, 16) << 96 | row.total_fee, row.nonce, row.requests_hash) for row in rows]
            self.town.send(provider, self.town.inference, "settleBatchWithTEE", packed, signature)
            return
        entries = [
            (
                row.user, provider if self.chance.random() < 0.9 else self.town.owner, row.total_fee, row.requests_hash,
                row.nonce,
                tee._sign_digest(typed_digest(TEESettlement(provider, row), 31337, self.town.inference)),
            )
            for row in rows
        ]  # fmt: skip
        self.town.send(provider, self.town.inference, "settleFeesWithTEE", entries)

    def _row(self, user: str) -> UserSettlement:
        self.nonces += self.chance.choice([1, 1, 1, 0, -5])
        fee = self.chance.choice([0, self.chance.randrange(COIN), self.amount()])
        return UserSettlement(user, fee, self.nonces, self.chance.randbytes(32))

    def deliver(self) -> None:
        self.deliverables += 1
        self.town.send(
            self.provider, self.town.fine_tuning, "addDeliverable", self.user, f"d{self.deliverables % 30}", b"root"
        )

    def answer_delivery(self) -> None:
        id_ = f"d{self.deliverables % 30}"
        if self.chance.random() < 0.7:
            self.town.send(self.user, self.town.fine_tuning, "acknowledgeDeliverable", self.provider, id_)
        else:
            self.town.send(self.provider, self.town.fine_tuning, "abandonDeliverable", self.user, id_)

    def finish(self) -> None:
        """Deliver, acknowledge or not, and settle a task."""
        user, provider, tee = self.user, self.provider, self.chance.choice(TEES)
        self.deliverables += 1
        id_, secret = f"d{self.deliverables % 30}", b""
        self.town.send(provider, self.town.fine_tuning, "addDeliverable", user, id_, b"root")
        if self.chance.random() < 0.6:
            self.town.send(user, self.town.fine_tuning, "acknowledgeDeliverable", provider, id_)
            secret = b"secret"
        self.nonces += 1
        fee = self.chance.choice([0, COIN // 3])
        message = VerifierMessage(id_, secret, b"root", self.nonces, fee, user)
        signature = tee._sign_digest(typed_digest(message, 31337, self.town.fine_tuning))
        given = (id_, secret, b"root", self.nonces, signature, fee, user)
        self.town.send(provider, self.town.fine_tuning, "settleFees", given)


_OFFER = ("chatbot", "https://new", "m", "TeeML", 1, 2, "", TEES[0].address)
_ACTIONS: Sequence[Callable[[History], None]] = (
    History.deposit, History.deposit, History.withdraw, History.describe, History.transfer, History.transfer,
    History.transfer, History.retrieve, History.retrieve, History.register, History.leave, History.confirm,
    History.confirm, History.acknowledge, History.rule, History.settle, History.settle, History.settle, History.deliver,
    History.answer_delivery, History.finish,
)  # fmt: skip


def prepared(history: History) -> None:
    """Users with accounts and providers with confirmed signers, so that most of what follows succeeds."""
    town = history.town
    for user in [*town.users, town.puppet]:
        town.send(user, town.ledger, "depositFund", value=200 * COIN)
    for provider in town.providers:
        town.send(provider, town.inference, "addOrUpdateService", _OFFER, value=100 * COIN)
        town.send(town.owner, town.inference, "acknowledgeTEESignerByOwner", provider)
        offer = ("https://t", (1, 2, 3, 4, "H100"), 5, False, ["a"], TEES[0].address)
        town.send(provider, town.fine_tuning, "addOrUpdateService", *offer, value=100 * COIN)
        town.send(town.owner, town.fine_tuning, "acknowledgeTEESignerByOwner", provider)
        for user in town.users[:3]:
            if user != provider:
                for name in ("inference-v1.0", "fine-tuning-v1.1"):
                    town.send(user, town.ledger, "transferFund", provider, name, 9 * COIN)


async def read_all(node: Any, path: Location, *, width: int | None = None) -> Checked:
    """Index everything that a node has, and compare it with the contracts."""
    chain = await AsyncReader.open(node)
    await advance(chain, path, width=width)
    with reading(path) as index:
        return await reconcile(index, chain)


async def advance(chain: AsyncReader, path: Location, *, width: int | None = None) -> None:
    """Let an index read everything that a node has."""
    genesis = await chain.block_hash(0)
    assert genesis is not None
    with writing(path, Subject(chain.chain_id, genesis, LOCAL_LEDGER)) as db:
        follower = Follower(db, chain, LOCAL_LEDGER)
        if width is not None:
            follower.width.blocks = width
        await follower.catch_up()


def play(town: Town, seed: int, directory: Path, followed: Location | None = None) -> tuple[Location, Location]:
    """Play a history with an index that is killed, resumed and reorganised; returns it and one of a single pass."""
    chance = random.Random(seed)
    history = History(town, chance)
    node = Node(town.chain)
    followed, once = followed or directory / "followed", directory / "once"
    chain = asyncio.run(AsyncReader.open(node))
    prepared(history)
    marks: list[tuple[str, dict[str, str], dict[str, str]]] = []
    for _ in range(chance.randrange(4, 10)):
        if chance.random() < 0.7:
            marks.append((town.chain.request("evm_snapshot", []), dict(town.abi), dict(town.names)))
        together = chance.random() < 0.3
        if together:
            town.chain.request("evm_setAutomine", [False])
        for _ in range(chance.randrange(2, 30)):
            history.act()
        if together:
            town.chain.request("evm_mine", [])
            town.chain.request("evm_setAutomine", [True])
        node.left = chance.choice([None, chance.randrange(1, 40)])
        with contextlib.suppress(Killed):
            asyncio.run(advance(chain, followed, width=chance.choice([1, 3, 64])))
        node.left = None
        if marks and chance.random() < 0.4:
            place = max(chance.randrange(len(marks)), chance.randrange(len(marks)))
            mark, town.abi, town.names = marks[place]
            del marks[place:]
            town.chain.request("evm_revert", [mark])
            if chance.random() < 0.3:
                asyncio.run(advance(chain, followed))
    asyncio.run(advance(chain, followed, width=chance.choice([1, 7, 64])))
    asyncio.run(advance(chain, once))
    return followed, once


def misread(town: Town, index: Location) -> list[str]:
    """Accounts whose acknowledgement or penalty flag is not what the contract had after a block with their events."""
    with reading(index) as found:
        rows = found.rows(
            "SELECT DISTINCT a.service, c.kind, a.user_address, a.provider, e.block, a.acknowledged, a.penalised"
            " FROM (SELECT contract AS service, user_address, provider, position >> 20 AS block FROM event UNION"
            " SELECT service, user_address, provider, position >> 20 FROM settlement WHERE status NOT IN (2, 5)) e"
            " JOIN account a ON a.service = e.service AND a.user_address = e.user_address AND a.provider = e.provider"
            " AND a.since >> 20 <= e.block AND (a.until IS NULL OR a.until >> 20 > e.block)"
            " JOIN contract c ON c.address = a.service WHERE c.kind <> 'other'"
        )
    wrong = []
    for service, kind, user, provider, block, acknowledged, penalised in rows:
        at = hex(block)
        interface = load(FINE_TUNING if kind == "fine-tuning" else INFERENCE).interface
        data = "0x" + interface.encode("getAccount", user, provider).hex()
        answer = town.chain.request("eth_call", [{"to": service, "data": data}, at])
        account = interface.decode_result("getAccount", bytes.fromhex(answer[2:]))
        flag = False
        if kind == "fine-tuning":
            slot = "0x" + slot_of(user, provider).hex()
            word = int(town.chain.request("eth_getStorageAt", [service, slot, at]), 16)
            found_flag = penalty_flag(word, account)
            assert found_flag is not None
            flag = found_flag
        if (bool(acknowledged), bool(penalised)) != (account["acknowledged"], flag):
            wrong.append(f"{user} with {provider}, block {block}: {acknowledged} {penalised}, {account}, {flag}")
    return wrong


NOT_COMPARED = {"seen", "meta"}


def dump(path: Location) -> dict[str, list[Any]]:
    """Everything in an index but when it was read."""
    tables = [line.split()[2] for line in TABLES.splitlines() if line.startswith("CREATE TABLE")]
    with reading(path) as index:
        found = {
            name: sorted(index.rows(f"SELECT * FROM {name}"), key=repr) for name in tables if name not in NOT_COMPARED
        }
        tip = index.tip()
        return found | {"tip": [tip.block, tip.hash, tip.time]}


def differences(first: Location, second: Location) -> Iterator[str]:
    """Where two indexes differ."""
    ours, theirs = dump(first), dump(second)
    for table, rows in ours.items():
        for row in rows:
            if row not in theirs[table]:
                yield f"{table}: only in the first: {row}"
        for row in theirs[table]:
            if row not in rows:
                yield f"{table}: only in the second: {row}"


def main() -> int:
    """Play many histories."""
    from serving_network.testing import local_network

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    begun = time.process_time()
    with local_network() as network:
        town = Town(network)
        for seed in range(options.seed, options.seed + options.count):
            with town.reset_afterwards(), tempfile.TemporaryDirectory() as directory:
                followed, once = play(town, seed, Path(directory))
                wrong = [*differences(followed, once), *misread(town, followed)]
                checked = asyncio.run(read_all(town.chain, followed))
                with reading(followed) as index:
                    odd = index.oddities().entries
                    events = index.rows("SELECT count(*) FROM event")[0][0]
                if wrong or not checked.agrees or odd:
                    sys.stdout.write("\n".join(map(str, [f"seed {seed}:", *wrong[:20], checked, *odd])) + "\n")
                    return 1
            sys.stdout.write(f"seed {seed}: {events} events, {checked.compared}\n")
    sys.stdout.write(f"{options.count} histories in {time.process_time() - begun:.0f} s of CPU\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
