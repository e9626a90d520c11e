# SPDX-License-Identifier: Apache-2.0
"""Inference serving behind its front, the people who use it, and its books."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from eth_utils import keccak

from serving_network.messages.typed_data import (
    TEESettlement,
    TEESettlementBatch,
    UserSettlement,
)
from serving_network.wallet.local import LocalTeeSigner
from tests.evm import CHAIN_ID, GAS_LIMIT, Evm
from tests.fastest_evm import FASTEST
from tests.unit.contract import COIN, Contract, Done, behind_front

STAKE = 100 * COIN
DAY = 86_400
MAX_COINS = 2**92 - 1
MAX_NONCE = 2**64 - 1

SUCCESS, PARTIAL, PROVIDER_MISMATCH, NO_TEE_SIGNER, INVALID_NONCE, INVALID_SIGNATURE = range(6)

# A contract that takes coins, and one that refuses them.
STOP, REVERT = b"\x00", bytes.fromhex("5f5ffd")

TEE = LocalTeeSigner(keccak(text="tee of the provider"))
OTHER_TEE = LocalTeeSigner(keccak(text="some other tee"))

OFFER: dict[str, Any] = {
    "serviceType": "chatbot",
    "url": "https://provider.example:8080",
    "model": "meta/llama-3.3-70b-instruct",
    "verifiability": "TeeML",
    "inputPrice": 7,
    "outputPrice": 11,
    "additionalInfo": '{"region":"eu"}',
    "teeSignerAddress": TEE.address,
}


@dataclass(frozen=True)
class Fee:
    """What one user owes. `signed` makes an entry of settleFeesWithTEE, `row` one of settleBatchWithTEE."""

    user: str
    wei: int = COIN
    nonce: int = 1
    hash: bytes = keccak(text="requests")

    def message(self) -> UserSettlement:
        return UserSettlement(self.user, self.wei, self.nonce, self.hash)

    def row(self) -> tuple[int, int, bytes]:
        return int(self.user, 16) << 96 | self.wei, self.nonce, self.hash


def statuses_of(packed: Sequence[int], rows: int) -> list[int]:
    """The statuses of a batch, as settleBatchWithTEE packs them."""
    every = [packed[place // 64] >> 4 * (place % 64) & 15 for place in range(256)]
    assert not any(every[rows:])
    return every[:rows]


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

    def open(
        self, user: str | None = None, provider: str | None = None, coins: int = 10 * COIN, info: str = ""
    ) -> Done:
        user, provider = user or self.user, provider or self.provider
        return self.serving.send("addAccount", user, provider, info, sender=self.ledger, value=coins)

    def deposit(self, coins: int, cancel: int = 0, user: str | None = None, provider: str | None = None) -> Done:
        user, provider = user or self.user, provider or self.provider
        return self.serving.send("depositFund", user, provider, cancel, sender=self.ledger, value=coins)

    def request(self, user: str | None = None, provider: str | None = None) -> Done:
        return self.serving.send("requestRefundAll", user or self.user, provider or self.provider, sender=self.ledger)

    def process(self, user: str | None = None, provider: str | None = None) -> Done:
        return self.serving.send("processRefund", user or self.user, provider or self.provider, sender=self.ledger)

    def delete(self, user: str | None = None, provider: str | None = None) -> Done:
        return self.serving.send("deleteAccount", user or self.user, provider or self.provider, sender=self.ledger)

    def close(self, user: str | None = None, provider: str | None = None) -> None:
        """Send everything in an account home and delete it."""
        self.request(user, provider)
        self.evm.time += DAY
        self.process(user, provider)
        self.delete(user, provider)

    def register(self, provider: str | None = None, *, stake: int = STAKE, **changes: Any) -> Done:
        return self.serving.send("addOrUpdateService", OFFER | changes, sender=provider or self.provider, value=stake)

    def update(self, provider: str | None = None, **changes: Any) -> Done:
        return self.register(provider, stake=0, **changes)

    def confirm(self, provider: str | None = None) -> Done:
        return self.serving.send("acknowledgeTEESignerByOwner", provider or self.provider, sender=self.owner)

    def fee(self, wei: int = COIN, **changes: Any) -> Fee:
        """The user's, with a nonce of its own."""
        return replace(Fee(self.user, wei, next(self.nonces)), **changes)

    def signed(
        self, fee: Fee, *, provider: str | None = None, tee: LocalTeeSigner = TEE, chain: int = CHAIN_ID, at: str = ""
    ) -> dict[str, Any]:
        """An entry of settleFeesWithTEE, signed for this contract on this chain unless told otherwise."""
        message = TEESettlement(provider or self.provider, fee.message())
        signature = tee.sign_typed(message, chain, at or self.serving.address)
        return {
            "user": fee.user,
            "provider": provider or self.provider,
            "totalFee": fee.wei,
            "requestsHash": fee.hash,
            "nonce": fee.nonce,
            "signature": signature,
        }

    def settle(self, *fees: Fee | dict[str, Any], provider: str | None = None, gas: int = GAS_LIMIT) -> Done:
        return self.serving.send(
            "settleFeesWithTEE", self.entries(*fees, provider=provider), sender=provider or self.provider, gas=gas
        )

    def entries(self, *fees: Fee | dict[str, Any], provider: str | None = None) -> list[dict[str, Any]]:
        return [self.signed(fee, provider=provider) if isinstance(fee, Fee) else fee for fee in fees]

    def batch(
        self,
        *fees: Fee,
        provider: str | None = None,
        tee: LocalTeeSigner = TEE,
        chain: int = CHAIN_ID,
        at: str = "",
    ) -> tuple[list[tuple[int, int, bytes]], bytes]:
        """The arguments of settleBatchWithTEE."""
        message = TEESettlementBatch(provider or self.provider, [fee.message() for fee in fees])
        signature = tee.sign_typed(message, chain, at or self.serving.address)
        return [fee.row() for fee in fees], signature

    def settle_batch(self, *fees: Fee, provider: str | None = None, gas: int = GAS_LIMIT) -> Done:
        arguments = self.batch(*fees, provider=provider)
        return self.serving.send("settleBatchWithTEE", *arguments, sender=provider or self.provider, gas=gas)

    def account(self, user: str | None = None, provider: str | None = None) -> dict[str, Any]:
        found: dict[str, Any] = self.serving.ask("getAccount", user or self.user, provider or self.provider)
        return found

    def refunds(self) -> list[int]:
        return [refund["amount"] for refund in self.account()["refunds"]]

    def every(self, listing: str, *party: str) -> list[dict[str, Any]]:
        """All entries of a listing, page by page."""
        found: list[dict[str, Any]] = []
        total = 1
        while len(found) < total:
            page, total = self.serving.ask(listing, *party, len(found), 50)
            found += page
            assert page or not total
        return found

    def check_books(self) -> None:
        """Coins held are the balances of the accounts and the stakes; refunds and lists agree with the accounts."""
        every = self.every("getAllAccounts")
        pairs = {(one["user"], one["provider"]) for one in every}
        assert len(pairs) == len(every)
        for one in every:
            assert one["pendingRefund"] == sum(refund["amount"] for refund in one["refunds"]) <= one["balance"]
            assert len(one["refunds"]) == one["validRefundsLength"] <= 5
            times = [refund["createdAt"] for refund in one["refunds"]]
            assert times == sorted(times)
        for user in {user for user, _ in pairs}:
            own = {provider for someone, provider in pairs if someone == user}
            assert set(self.serving.ask("providersOf", user)) == own
            assert self.serving.ask("providerCount", user) == len(own)
            locked = sum(one["balance"] for one in every if one["user"] == user)
            assert self.serving.ask("lockedBalance", user) == locked
            listed = self.every("getAccountsByUser", user)
            assert {(one["user"], one["provider"]) for one in listed} == {(user, provider) for provider in own}
        for provider in {provider for _, provider in pairs}:
            listed = self.every("getAccountsByProvider", provider)
            own = {user for user, someone in pairs if someone == provider}
            assert {(one["user"], one["provider"]) for one in listed} == {(user, provider) for user in own}
        stakes = sum(args["amount"] for name, args in self.serving.history if name == "ProviderStaked")
        returned = sum(args["amount"] for name, args in self.serving.history if name == "ProviderStakeReturned")
        held = sum(one["balance"] for one in every) + stakes - returned
        assert self.evm.balance(self.serving.address) == held + self.forced


def new_world(kind: type[Evm] = FASTEST) -> World:
    evm = kind()
    owner, user, provider, second, stranger, ledger = (
        evm.account(name) for name in ("owner", "user", "provider", "second", "stranger", "ledger")
    )
    evm.set_code(ledger, STOP)
    serving = behind_front(evm, "InferenceServing", STAKE, owner=owner, initialize=(DAY, ledger, owner))
    return World(evm, serving, ledger, owner, user, provider, second, stranger)
