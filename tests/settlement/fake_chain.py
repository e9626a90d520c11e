# SPDX-License-Identifier: Apache-2.0
"""A chain in memory that behaves like the contract, and on demand like a bad node.

It keeps to the settlement rules of docs/specification.md: statuses in their order, nonces that only grow, pending
refunds used newest first. It has a pool, blocks that can be reorganised, and a hook before and after every call.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256

from serving_network.addresses import to_checksum_address
from serving_network.clients.settlements import Outcome, SignedSettlements
from serving_network.contracts.models import Account, Refund, Status
from serving_network.errors import TransactionFailure
from serving_network.messages.typed_data import (
    INFERENCE_NAME,
    Domain,
    TEESettlement,
    TEESettlementBatch,
    UserSettlement,
)
from serving_network.settlement.chain import Head, Landed, PastSettlement, Service, TooMuchGas, Underpriced
from serving_network.settlement.journal.records import Acceptance, Mined, Transaction
from serving_network.signing import signed_by
from serving_network.wallet.local import LocalTeeSigner

PROVIDER = to_checksum_address("0x" + "b2" * 20)
CONTRACT = to_checksum_address("0x" + "c3" * 20)
GAS_PER_ROW = 20_000
TEE = LocalTeeSigner(b"\x07" * 32)


@dataclass
class State:
    """Everything that a block changes."""

    accounts: dict[str, Account] = field(default_factory=dict)
    service: Service | None = None
    wallet: int = 0
    wallet_nonce: int = 0
    left: dict[str, int] = field(default_factory=dict)
    """The nonces of deleted accounts: the contract keeps them."""
    paid: dict[str, int] = field(default_factory=dict)
    """What each user was charged in all."""

    def copy(self) -> State:
        """One that changes separately. Accounts and services are replaced, never changed."""
        return replace(self, accounts=dict(self.accounts), left=dict(self.left), paid=dict(self.paid))

    def paid_in_all(self) -> int:
        """What all users were charged."""
        return sum(self.paid.values())


@dataclass
class Pending:
    """A transaction in the pool: `foreign` ones are the wallet's but not the run's."""

    hash: str
    nonce: int
    fee: int
    signed: SignedSettlements | None


@dataclass
class Block:
    """A mined block, with the state before it."""

    hash: str
    before: State
    transactions: list[tuple[Pending, Landed]]


Hook = Callable[[str, str], None]


class FakeChain:
    """Answers everything that a run asks. `hook(method, "before" or "after")` may raise."""

    chain_id = 31337
    contract = CONTRACT
    provider = PROVIDER

    def __init__(self, *, batches: bool = False) -> None:
        self.state = State(service=Service(1000, 3000, TEE.address, True, batches))
        self.blocks: list[Block] = [Block("0x" + "00" * 32, State(), [])]
        self.pool: dict[str, Pending] = {}
        self.hook: Hook = lambda *_: None
        self.mines_at_once = True
        self.hidden: set[str] = set()
        self.reverting: set[str] = set()
        self.gas_limit = 10**9
        self.least_fee = 1
        self.wants_higher_fees = False
        self.now = 1_795_000_000
        self.counter = 0
        self.broadcasts: list[str] = []
        self.reserves: list[int] = []

    # ------------------------------------------------------------------------------- for the tests

    def fund(self, user: str, amount: int, *, acknowledged: bool = True, nonce: int = 0) -> None:
        old = self.state.accounts.get(user)
        self.state.accounts[user] = Account(
            service="inference",
            user=to_checksum_address(user),
            provider=PROVIDER,
            nonce=max(nonce, old.nonce if old else self.state.left.get(user, 0)),
            balance=amount + (old.balance if old else 0),
            pending_refund=old.pending_refund if old else 0,
            refunds=old.refunds if old else (),
            info="",
            acknowledged=acknowledged,
        )

    def ask_back(self, user: str, amount: int, unlocks_in: int) -> None:
        old = self.state.accounts[user]
        refund = Refund(amount, self.now, self.now + unlocks_in)
        self.state.accounts[user] = replace(
            old, pending_refund=old.pending_refund + amount, refunds=(*old.refunds, refund)
        )

    def leave(self, user: str) -> None:
        """The user takes all coins back and closes the account."""
        self.state.left[user] = self.state.accounts.pop(user).nonce

    def mine(self) -> None:
        """One block with everything that fits, best fee first."""
        before = self.state.copy()
        mined: list[tuple[Pending, Landed]] = []
        self.counter += 1
        number, block_hash = len(self.blocks), "0x" + sha256(b"block %d" % self.counter).hexdigest()
        while True:
            fitting = [sent for sent in self.pool.values() if sent.nonce == self.state.wallet_nonce]
            fitting = [sent for sent in fitting if sent.fee >= self.least_fee]
            if not fitting:
                break
            sent = max(fitting, key=lambda sent: sent.fee)
            self.state.wallet_nonce += 1
            succeeded = sent.hash not in self.reverting
            outcomes = self._apply(sent.signed, self.state) if sent.signed and succeeded else []
            gas = 21_000 + GAS_PER_ROW * len(outcomes)
            self.state.wallet += sum(outcome.paid for outcome in outcomes)
            where = Mined(number, block_hash, gas, gas * sent.fee)
            mined.append((sent, Landed(succeeded, where, tuple(outcomes), sent.hash)))
            self.pool = {key: other for key, other in self.pool.items() if other.nonce >= self.state.wallet_nonce}
        self.blocks.append(Block(block_hash, before, mined))

    def reorganise(self, depth: int, *, keep: bool = True) -> None:
        """Undo the newest blocks; their transactions go back to the pool, or are lost."""
        for block in reversed(self.blocks[-depth:]):
            self.state = block.before
            if keep:
                self.pool |= {sent.hash: sent for sent, _ in block.transactions}
        del self.blocks[-depth:]

    def take_nonce(self) -> None:
        """Mine a transaction of the wallet that the run knows nothing of, in place of those in the pool."""
        self.pool = {"foreign": Pending("foreign", self.state.wallet_nonce, 10**15, None)}
        self.mine()

    # ----------------------------------------------------------------------------------- the contract

    def _apply(self, signed: SignedSettlements, state: State) -> list[Outcome]:
        domain = Domain(INFERENCE_NAME, self.chain_id, self.contract)
        whole = None
        if signed.form == "batch":
            whole = domain.digest(TEESettlementBatch(PROVIDER, signed.settlements))
        outcomes = []
        for position, row in enumerate(signed.settlements):
            digest = whole or domain.digest(TEESettlement(PROVIDER, row))
            signature = signed.signatures[0 if whole else position]
            outcomes.append(self._settle(row, digest, signature, state))
        return outcomes

    def _settle(self, row: UserSettlement, digest: bytes, signature: bytes, state: State) -> Outcome:
        account, service = state.accounts.get(row.user), state.service
        if account is None:
            return Outcome(Status.INVALID_SIGNATURE, 0)
        if service is None:
            return Outcome(Status.PROVIDER_MISMATCH, 0)
        if not (account.acknowledged and service.confirmed):
            return Outcome(Status.NO_TEE_SIGNER, 0)
        if row.nonce <= account.nonce:
            return Outcome(Status.INVALID_NONCE, 0)
        if not signed_by(service.tee_signer, digest, signature):
            return Outcome(Status.INVALID_SIGNATURE, 0)
        paid = min(row.total_fee, account.balance)
        pending = min(account.pending_refund, account.balance - paid)
        state.paid[row.user] = state.paid.get(row.user, 0) + paid
        state.accounts[row.user] = replace(
            account, nonce=row.nonce, balance=account.balance - paid, pending_refund=pending
        )
        return Outcome(Status.SUCCESS if paid == row.total_fee else Status.PARTIAL, paid)

    # --------------------------------------------------------------------------------- SettlementChain

    async def block_hash(self, number: int) -> str | None:
        self.hook("block_hash", "before")
        return self.blocks[number].hash if number < len(self.blocks) else None

    async def head(self) -> Head:
        self.hook("head", "before")
        return Head(len(self.blocks) - 1, self.now, self.blocks[-1].hash)

    async def final_block(self, depth: int | None) -> int:
        self.hook("final_block", "before")
        return max(0, len(self.blocks) - (depth or 1))

    async def service(self) -> Service | None:
        self.hook("service", "before")
        return self.state.service

    async def accounts(self, users: Sequence[str], block: int | None = None) -> dict[str, Account]:
        self.hook("accounts", "before")
        accounts = self._state_at(block).accounts
        return {user: accounts[user] for user in users if user in accounts}

    async def wallet_nonce_at(self, block: int) -> int:
        self.hook("wallet_nonce_at", "before")
        return self._state_at(block).wallet_nonce

    def _state_at(self, block: int | None) -> State:
        return self.state if block is None or block + 1 >= len(self.blocks) else self.blocks[block + 1].before

    async def preview(self, signed: SignedSettlements) -> list[Outcome]:
        self.hook("preview", "before")
        return self._apply(signed, self.state.copy())

    async def wallet_nonce(self) -> int:
        self.hook("wallet_nonce", "before")
        nonce = self.state.wallet_nonce
        while any(sent.nonce == nonce for sent in self.pool.values()):
            nonce += 1
        return nonce

    async def mined_wallet_nonce(self, depth: int) -> int:
        self.hook("mined_wallet_nonce", "before")
        if depth == 1:
            return self.state.wallet_nonce
        return self.blocks[-min(depth - 1, len(self.blocks))].before.wallet_nonce

    async def prepare(
        self, signed: SignedSettlements, nonce: int, gas_limit: int, gas_price_cap: int, reserve: int
    ) -> Transaction:
        self.hook("prepare", "before")
        gas = GAS_PER_ROW * len(signed.settlements)
        self.reserves.append(reserve)
        if gas > gas_limit:
            raise TooMuchGas("too many rows")
        return self._make(signed, nonce, gas, min(1, gas_price_cap))

    async def replace(self, signed: SignedSettlements, stuck: Transaction, gas_price_cap: int) -> Transaction:
        self.hook("replace", "before")
        if stuck.max_fee_per_gas * 2 > gas_price_cap:
            raise TransactionFailure("The cap is reached.", transaction=stuck.hash)
        return self._make(signed, stuck.nonce, stuck.gas, stuck.max_fee_per_gas * 2)

    async def empty(self, nonce: int, stuck: Transaction | None, gas_price_cap: int) -> Transaction:
        self.hook("empty", "before")
        fee = 1 if stuck is None else stuck.max_fee_per_gas * 2
        if fee > gas_price_cap:
            raise TransactionFailure("The cap is reached.")
        return self._make(None, nonce, 21_000, fee)._replace(purpose="cancel")

    def _make(self, signed: SignedSettlements | None, nonce: int, gas: int, fee: int) -> Transaction:
        raw = pickle.dumps((nonce, fee, signed))
        return Transaction("0x" + sha256(raw).hexdigest(), raw, nonce, gas, fee, fee)

    async def broadcast(self, transaction: Transaction) -> None:
        self.hook("broadcast", "before")
        nonce, fee, signed = pickle.loads(transaction.raw)
        self.broadcasts.append(transaction.hash)
        if self.wants_higher_fees and any(
            other.nonce == nonce and other.fee >= fee and other.hash != transaction.hash for other in self.pool.values()
        ):
            raise Underpriced("replacement transaction underpriced", transaction=transaction.hash)
        if nonce >= self.state.wallet_nonce:
            self.pool[transaction.hash] = Pending(transaction.hash, nonce, fee, signed)
            if self.mines_at_once:
                self.mine()
        self.hook("broadcast", "after")

    async def landed(self, transaction: Transaction, _: SignedSettlements) -> Landed | None:
        self.hook("landed", "before")
        if transaction.hash in self.hidden:
            return None
        found = [landed for sent, landed in self._mined() if sent.hash == transaction.hash]
        return found[0] if found else None

    async def search(self, signed: SignedSettlements, from_block: int) -> list[Landed]:
        self.hook("search", "before")
        return [
            landed
            for sent, landed in self._mined()
            if sent.signed == signed and landed.mined.block_number >= from_block
        ]

    async def past_settlements(self, users: Sequence[str], from_block: int) -> list[PastSettlement]:
        self.hook("past_settlements", "before")
        return [
            PastSettlement(
                row.user, row, Acceptance(outcome, landed.mined.block_number, landed.mined.block_hash, sent.hash)
            )
            for sent, landed in self._mined()
            if sent.signed is not None and landed.succeeded and landed.mined.block_number >= from_block
            for row, outcome in zip(sent.signed.settlements, landed.outcomes, strict=True)
            if Status(outcome.status).paid and row.user in users
        ]

    async def paid_since(self, block_number: int, form: str, known: Container[str]) -> list[PastSettlement]:
        self.hook("paid_since", "before")
        past = await self.past_settlements(list(self.state.paid), block_number + 1)
        forms = {sent.hash: sent.signed.form for sent, _ in self._mined() if sent.signed is not None}
        hashes = {one for one, its_form in forms.items() if its_form == form and one not in known}
        return [one for one in past if one.acceptance.transaction in hashes]

    async def calls_since(self, block_number: int) -> dict[int, str]:
        self.hook("calls_since", "before")
        return {
            sent.nonce: sent.hash
            for sent, landed in self._mined()
            if sent.signed is not None and landed.mined.block_number > block_number
        }

    def _mined(self) -> list[tuple[Pending, Landed]]:
        return [entry for block in self.blocks for entry in block.transactions]
