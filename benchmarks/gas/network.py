# SPDX-License-Identifier: Apache-2.0
"""The network in which gas is measured: all three contracts behind attached fronts, with existing users."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from typing import Any

from benchmarks.gas.evm import QuickEvm
from serving_network.addresses import to_checksum_address
from serving_network.hashing import keccak
from serving_network.messages.typed_data import (
    TEESettlement,
    TEESettlementBatch,
    UserSettlement,
    VerifierMessage,
)
from serving_network.wallet.local import LocalTeeSigner
from tests.evm import CHAIN_ID, GAS_LIMIT
from tests.unit.contract import COIN, Contract, Done, behind_front, create

INFERENCE, FINE_TUNING = "inference-v1.0", "fine-tuning-v1.1"
DAY = 86_400
STAKE = 100 * COIN
PENALTY = 30
PROVIDERS = 6
NEIGHBOURS = 3
# The maximum number of providers of one retrieveFund.
CALL_PROVIDERS = 20
FEE = 4 * 10**15 + 12_345
# The live brokers count in units of 100 ns since 1970.
FIRST_NONCE = 17_637_984_000_000_000
ROOT = keccak(b"model root")
SECRET = bytes(range(100))


@dataclass(frozen=True)
class Step:
    """A transaction that is ready to be sent; amounts in wei."""

    contract: Contract
    name: str
    args: tuple[Any, ...]
    sender: str
    value: int = 0

    def send(self, gas: int = GAS_LIMIT) -> Done:
        """Raises AssertionError if the transaction reverts or runs out of gas."""
        return self.contract.send(self.name, *self.args, sender=self.sender, value=self.value, gas=gas)

    @property
    def data(self) -> bytes:
        return self.contract.interface.encode(self.name, *self.args)


class Network:
    """Six providers in each service, neighbours with an account at every one of them, customers of the first inference
    provider with ten coins each, and the owner of it all.

    Everything is made from names and counters, so that the same steps cost the same gas each time.
    """

    def __init__(self, customers: int, *, neighbours: int = NEIGHBOURS, attached: bool = True) -> None:
        self.evm = QuickEvm()
        self._people = count()
        self.owner = self.account("owner")
        self.tee = LocalTeeSigner(keccak(b"tee of the providers"))
        self._nonces = count(FIRST_NONCE)

        def front(name: str, least: Sequence[int], *initialize: Any) -> Contract:
            return behind_front(self.evm, name, *least, owner=self.owner, initialize=initialize, attached=attached)

        self.ledger = front("LedgerManager", (3 * COIN, COIN), self.owner)
        self.inference = front("InferenceServing", (STAKE,), DAY, self.ledger.address, self.owner)
        self.fine_tuning = front("FineTuningServing", (STAKE,), DAY, self.ledger.address, self.owner, PENALTY)
        self.list_service("inference", "v1.0", self.inference.address)
        self.list_service("fine-tuning", "v1.1", self.fine_tuning.address)

        self.providers = [self.account("provider") for _ in range(PROVIDERS)]
        for provider in self.providers:
            self.register(provider).send()
            self.register_fine_tuning(provider).send()
            for service in (self.inference, self.fine_tuning):
                service.send("acknowledgeTEESignerByOwner", provider, self.tee.address, sender=self.owner)
        self.provider = self.providers[0]
        for _ in range(neighbours):
            self.neighbour()
        self.customers = [self.customer() for _ in range(customers)]

    @contextmanager
    def undone(self) -> Iterator[None]:
        """Undo everything that happens inside, so that the next measurement starts from the same network."""
        nonces, people = self._nonces, self._people
        self._nonces, self._people = count(FIRST_NONCE + 10**6), count(10**6)
        with self.evm.rolled_back():
            yield
        self._nonces, self._people = nonces, people

    def account(self, name: str) -> str:
        """A new funded account, at an address without a zero byte, so that all calldata costs the same."""
        made = (keccak(f"{name} {number}".encode())[12:] for number in self._people)
        address = to_checksum_address(next(raw for raw in made if 0 not in raw))
        self.evm.set_balance(address, 10**27)
        return address

    def neighbour(self) -> str:
        """A user with an account at every provider of both services."""
        user = self.user()
        for provider in self.providers:
            self.transfer(user, provider)
            self.transfer(user, provider, service=FINE_TUNING)
        return user

    def user(self, coins: int = 1000 * COIN) -> str:
        """A new user with a ledger."""
        user = self.account("user")
        self.ledger.send("addLedger", "", sender=user, value=coins)
        return user

    def customer(self) -> str:
        user = self.user()
        self.transfer(user, amount=10 * COIN)
        return user

    def list_service(self, kind: str, version: str, address: str) -> Done:
        """Register a service contract in the ledger, as its owner."""
        text = f"The {kind} service, version {version}"
        return self.ledger.send("registerService", kind, version, address, text, sender=self.owner)

    def spare_service(self) -> str:
        """One more inference service behind a front of its own, not registered."""
        start = self.inference.interface.encode("initialize", DAY, self.ledger.address, self.owner)
        return create(self.evm, "BeaconProxy", str(self.inference.beacon), start, sender=self.owner)

    def list_services(self, number: int) -> None:
        """More inference services until the registry has `number`."""
        _, listed = self.ledger.ask("getActiveServices", 0, 1)
        for index in range(listed, number):
            self.list_service("inference", f"v2.{index}", self.spare_service())

    def transfer_step(self, user: str, provider: str = "", *, amount: int = 2 * COIN, service: str = INFERENCE) -> Step:
        """Transfer `amount` wei, by default to the first provider."""
        return Step(self.ledger, "transferFund", (provider or self.provider, service, amount), user)

    def transfer(self, user: str, provider: str = "", *, amount: int = 2 * COIN, service: str = INFERENCE) -> Done:
        return self.transfer_step(user, provider, amount=amount, service=service).send()

    def retrieve_step(self, user: str, providers: Sequence[str], *, service: str = INFERENCE) -> Step:
        return Step(self.ledger, "retrieveFund", (list(providers), service), user)

    def empty(self, user: str, providers: Sequence[str], *, service: str = INFERENCE) -> None:
        """Retrieve everything that the user has with these providers; the empty accounts stay."""
        for wait in (DAY, 0):
            for start in range(0, len(providers), CALL_PROVIDERS):
                self.retrieve_step(user, providers[start : start + CALL_PROVIDERS], service=service).send()
            self.evm.time += wait

    def register(self, provider: str, *, price: int = 100, info: str = "i" * 400, stake: int = STAKE) -> Step:
        """An inference registration with a url of 40 bytes and a model of 31."""
        params = {
            "serviceType": "chatbot",
            "url": "https://provider-one.example.com:8080/v1",
            "model": "meta/llama-3.3-70b-instruct-fp8",
            "verifiability": "TeeML",
            "inputPrice": price,
            "outputPrice": 200,
            "additionalInfo": info,
            "teeSignerAddress": self.tee.address,
        }
        return Step(self.inference, "addOrUpdateService", (params,), provider, stake)

    def register_fine_tuning(self, provider: str, *, price: int = 7, stake: int = STAKE) -> Step:
        """A fine-tuning registration with three models."""
        quota = {"cpuCount": 64, "nodeMemory": 512, "gpuCount": 8, "nodeStorage": 4096, "gpuType": "H100"}
        models = ["qwen/qwen2.5-0.5b-instruct", "distilbert/distilbert-base", "meta/llama-3.3-70b-instruct"]
        url = "https://provider-one.example.com:8080/v1"
        args = (url, quota, price, False, models, self.tee.address)
        return Step(self.fine_tuning, "addOrUpdateService", args, provider, stake)

    def settlement(self, user: str, fee: int = FEE) -> UserSettlement:
        """The next settlement of a user, with a nonce of its own."""
        nonce = next(self._nonces)
        return UserSettlement(user, fee, nonce, keccak(nonce.to_bytes(32, "big")))

    def sign(self, message: TEESettlement | TEESettlementBatch) -> bytes:
        return self.tee.sign_typed(message, CHAIN_ID, self.inference.address)

    def settle_each(self, settlements: Sequence[UserSettlement]) -> Step:
        """`settleFeesWithTEE`: a signature for each."""
        entries = [
            {
                "user": row.user,
                "provider": self.provider,
                "totalFee": row.total_fee,
                "requestsHash": row.requests_hash,
                "nonce": row.nonce,
                "signature": self.sign(TEESettlement(self.provider, row)),
            }
            for row in settlements
        ]
        return Step(self.inference, "settleFeesWithTEE", (entries,), self.provider)

    def settle_batch(self, settlements: Sequence[UserSettlement]) -> Step:
        """`settleBatchWithTEE`: one signature for all."""
        rows = [
            {
                "userAndFee": (int(row.user, 16) << 96) | row.total_fee,
                "nonce": row.nonce,
                "requestsHash": row.requests_hash,
            }
            for row in settlements
        ]
        signature = self.sign(TEESettlementBatch(self.provider, settlements))
        return Step(self.inference, "settleBatchWithTEE", (rows, signature), self.provider)

    def deliver(self, user: str, number: int) -> Step:
        """A deliverable with an id of 36 bytes and a root of 32."""
        args = (user, deliverable(number), ROOT)
        return Step(self.fine_tuning, "addDeliverable", args, self.provider)

    def acknowledge(self, user: str, number: int) -> Step:
        return Step(self.fine_tuning, "acknowledgeDeliverable", (self.provider, deliverable(number)), user)

    def settle_task(
        self, user: str, number: int, secret: bytes = SECRET, *, name: str = "", root: bytes = ROOT, fee: int = FEE
    ) -> Step:
        """`settleFees` for one deliverable (of the usual id unless it has a `name`); no secret for one that was not
        acknowledged."""
        nonce = next(self._nonces)
        message = VerifierMessage(name or deliverable(number), secret, root, nonce, fee, user)
        task = {
            "id": message.id,
            "encryptedSecret": secret,
            "modelRootHash": root,
            "nonce": nonce,
            "signature": self.tee.sign_typed(message, CHAIN_ID, self.fine_tuning.address),
            "taskFee": fee,
            "user": user,
        }
        return Step(self.fine_tuning, "settleFees", (task,), self.provider)

    def finish_task(self, user: str, number: int) -> None:
        """Deliver, acknowledge and settle."""
        for step in (self.deliver(user, number), self.acknowledge(user, number), self.settle_task(user, number)):
            step.send()


def deliverable(number: int) -> str:
    """An id as long as a UUID."""
    return f"{number:08d}-4be2-4d0c-9f3a-7c5d21e08b6f"
