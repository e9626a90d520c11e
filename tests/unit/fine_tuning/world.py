# SPDX-License-Identifier: Apache-2.0
"""Fine-tuning serving behind its front, the people who use it, and its books."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

from eth_utils import keccak

from serving_network.contracts import Interface
from serving_network.contracts.build.artifacts import ROOT as CHECKOUT
from serving_network.messages.typed_data import VerifierMessage
from serving_network.wallet.local import LocalTeeSigner
from tests.evm import CHAIN_ID, Evm
from tests.fastest_evm import FASTEST
from tests.shared import compile_contract
from tests.unit.contract import COIN, Contract, Done, behind_front

MOCKS = Path(__file__).with_name("mocks")
STAKE = 100 * COIN
DAY = 86_400
PENALTY = 30
ROOT = bytes(range(32))
SECRET = b"\xab" * 100
MAX_COINS = 2**92 - 1

# A contract that takes coins, and one that refuses them.
STOP, REVERT = b"\x00", bytes.fromhex("5f5ffd")

TEE = LocalTeeSigner(keccak(text="tee of the provider"))
OTHER_TEE = LocalTeeSigner(keccak(text="some other tee"))


def offer(**changes: Any) -> list[Any]:
    """The arguments of addOrUpdateService."""
    quota = {"cpuCount": 64, "nodeMemory": 512, "gpuCount": 8, "nodeStorage": 4096, "gpuType": "H100"}
    fields = {
        "url": "https://provider.example:8080",
        "quota": quota,
        "pricePerToken": 7,
        "occupied": False,
        "models": ["qwen/qwen2.5-0.5b-instruct", "", "meta/llama-3.3-70b"],
        "teeSignerAddress": TEE.address,
    } | changes
    return list(fields.values())


@dataclass(frozen=True)
class Settlement:
    """What a provider's TEE is asked to sign; `signed` makes the argument of settleFees."""

    id: str
    user: str
    secret: bytes = SECRET
    root: bytes = ROOT
    nonce: int = 1
    fee: int = COIN

    def signed(self, contract: str, *, chain: int = CHAIN_ID, tee: LocalTeeSigner = TEE) -> dict[str, Any]:
        message = VerifierMessage(self.id, self.secret, self.root, self.nonce, self.fee, self.user)
        return self.with_signature(tee.sign_typed(message, chain, contract))

    def with_signature(self, signature: bytes) -> dict[str, Any]:
        return {
            "id": self.id,
            "encryptedSecret": self.secret,
            "modelRootHash": self.root,
            "nonce": self.nonce,
            "signature": signature,
            "taskFee": self.fee,
            "user": self.user,
        }


@dataclass
class World:
    """Everything a test needs; `forced` are wei that reached the contract without belonging to anybody."""

    evm: Evm
    serving: Contract
    ledger: str
    owner: str
    user: str
    provider: str
    second: str
    stranger: str
    forced: int = 0
    nonces: Iterator[int] = field(default_factory=lambda: iter(range(1, 10**6)))

    def begin(self) -> None:
        """Forget what an earlier test did."""
        self.serving.history.clear()
        self.forced = 0
        self.nonces = iter(range(1, 10**6))

    def open(self, user: str, provider: str, coins: int = 10 * COIN, info: str = "") -> Done:
        return self.serving.send("addAccount", user, provider, info, sender=self.ledger, value=coins)

    def register(self, provider: str, *, stake: int = STAKE, **changes: Any) -> Done:
        return self.serving.send("addOrUpdateService", *offer(**changes), sender=provider, value=stake)

    def update(self, provider: str, **changes: Any) -> Done:
        return self.register(provider, stake=0, **changes)

    def confirm(self, provider: str) -> None:
        self.serving.send("acknowledgeTEESignerByOwner", provider, sender=self.owner)

    def deliver(self, id: str, *, user: str | None = None, provider: str | None = None, root: bytes = ROOT) -> Done:  # noqa: A002
        return self.serving.send("addDeliverable", user or self.user, id, root, sender=provider or self.provider)

    def acknowledge(self, id: str, *, user: str | None = None, provider: str | None = None) -> Done:  # noqa: A002
        return self.serving.send("acknowledgeDeliverable", provider or self.provider, id, sender=user or self.user)

    def settlement(self, id: str, **changes: Any) -> Settlement:  # noqa: A002
        """One for the user, with a nonce of its own."""
        return replace(Settlement(id, self.user, nonce=next(self.nonces)), **changes)

    def settle(self, settlement: Settlement, *, provider: str | None = None) -> Done:
        signed = settlement.signed(self.serving.address)
        return self.serving.send("settleFees", signed, sender=provider or self.provider)

    def penalise(self, id: str, *, fee: int = COIN) -> Done:  # noqa: A002
        """Deliver something and settle it although the user does not acknowledge it."""
        self.deliver(id)
        return self.settle(self.settlement(id, secret=b"", fee=fee))

    def finish(self, id: str, *, fee: int = COIN) -> Done:  # noqa: A002
        """Deliver something, acknowledged and settled."""
        self.deliver(id)
        self.acknowledge(id)
        return self.settle(self.settlement(id, fee=fee))

    def account(self, user: str | None = None, provider: str | None = None) -> dict[str, Any]:
        found: dict[str, Any] = self.serving.ask("getAccount", user or self.user, provider or self.provider)
        return found

    def deliverable(self, id: str) -> dict[str, Any]:  # noqa: A002
        found: dict[str, Any] = self.serving.ask("getDeliverable", self.user, self.provider, id)
        return found

    def ids(self) -> list[str]:
        return [one["id"] for one in self.serving.ask("getDeliverables", self.user, self.provider)]

    def request(self, user: str | None = None, provider: str | None = None) -> Done:
        return self.serving.send("requestRefundAll", user or self.user, provider or self.provider, sender=self.ledger)

    def process(self, user: str | None = None, provider: str | None = None) -> Done:
        return self.serving.send("processRefund", user or self.user, provider or self.provider, sender=self.ledger)

    def deposit(self, coins: int, cancel: int = 0) -> Done:
        return self.serving.send("depositFund", self.user, self.provider, cancel, sender=self.ledger, value=coins)

    def empty_account(self, user: str | None = None, provider: str | None = None) -> None:
        """Send everything in the account home."""
        self.request(user, provider)
        self.evm.time += DAY
        self.process(user, provider)

    def delete(self, user: str | None = None, provider: str | None = None) -> Done:
        return self.serving.send("deleteAccount", user or self.user, provider or self.provider, sender=self.ledger)

    def accounts(self) -> list[dict[str, Any]]:
        """Every account, page by page."""
        found: list[dict[str, Any]] = []
        total = 1
        while len(found) < total:
            page, total = self.serving.ask("getAllAccounts", len(found), 50)
            found += page
            assert page or not total
        return found

    def check_books(self) -> None:
        """Coins held are the balances of the accounts and the stakes; refunds and lists agree with the accounts."""
        every = self.accounts()
        pairs = {(one["user"], one["provider"]) for one in every}
        assert len(pairs) == len(every)
        for user, provider in pairs:
            one = self.account(user, provider)
            assert one["pendingRefund"] == sum(refund["amount"] for refund in one["refunds"]) <= one["balance"]
            assert len(one["refunds"]) == one["validRefundsLength"] <= 5
            assert len(one["deliverables"]) == one["deliverablesCount"] <= 20
        for user in {user for user, _ in pairs}:
            own = {provider for someone, provider in pairs if someone == user}
            assert set(self.serving.ask("providersOf", user)) == own
            assert self.serving.ask("providerCount", user) == len(own)
            assert self.serving.ask("lockedBalance", user) == sum(
                one["balance"] for one in every if one["user"] == user
            )
            assert self._listed("getAccountsByUser", user) == {(user, provider) for provider in own}
        for provider in {provider for _, provider in pairs}:
            own = {user for user, someone in pairs if someone == provider}
            assert self._listed("getAccountsByProvider", provider) == {(user, provider) for user in own}
        stakes = sum(args["amount"] for name, args in self.serving.history if name == "ProviderStaked")
        returned = sum(args["amount"] for name, args in self.serving.history if name == "ProviderStakeReturned")
        held = sum(one["balance"] for one in every) + stakes - returned
        assert self.evm.balance(self.serving.address) == held + self.forced

    def _listed(self, listing: str, party: str) -> set[tuple[str, str]]:
        found: list[dict[str, Any]] = []
        total = 1
        while len(found) < total:
            page, total = self.serving.ask(listing, party, len(found), 50)
            found += page
        return {(one["user"], one["provider"]) for one in found}


@cache
def _compiled(name: str) -> tuple[Interface, bytes]:
    made = compile_contract(MOCKS / f"{name}.vy", CHECKOUT)
    return Interface(made.abi), made.bytecode


def mock(evm: Evm, name: str, *, sender: str) -> Contract:
    """One of the mocks, behind no front."""
    interface, code = _compiled(name)
    outcome = evm.deploy(code, sender=sender)
    assert outcome.created is not None
    return Contract(evm, outcome.created, interface)


def new_world(kind: type[Evm] = FASTEST) -> World:
    evm = kind()
    owner, user, provider, second, stranger, ledger = (
        evm.account(name) for name in ("owner", "user", "provider", "second", "stranger", "ledger")
    )
    evm.set_code(ledger, STOP)
    serving = behind_front(evm, "FineTuningServing", STAKE, owner=owner, initialize=(DAY, ledger, owner, PENALTY))
    return World(evm, serving, ledger, owner, user, provider, second, stranger)
