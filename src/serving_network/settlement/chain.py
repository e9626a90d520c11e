# SPDX-License-Identifier: Apache-2.0
"""The interface between a settlement run and a chain.

`SettlementChain` is everything that a run needs. `live` implements it through a node; the tests use a fake chain that
forgets, lies, reorganises and fails.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from serving_network.clients.read.settlement_calls import Form
from serving_network.clients.settlements import Outcome, SignedSettlements
from serving_network.contracts.models import Account
from serving_network.errors import TransactionFailure
from serving_network.messages.typed_data import UserSettlement
from serving_network.settlement.journal.records import Acceptance, Mined, Transaction


class TooMuchGas(TransactionFailure):
    """A batch needs more gas than one transaction may use. A batch with fewer rows may fit."""


class Underpriced(TransactionFailure):
    """The node requires a higher fee to replace another transaction with the same nonce."""


class Head(NamedTuple):
    """The newest block. Its timestamp is in unix seconds."""

    number: int
    timestamp: int
    hash: str


@dataclass(frozen=True, slots=True)
class Service:
    """The provider's service. Prices are in wei per token; `confirmed` is whether the owner confirmed the signer.

    Cached input costs the input price over `cached_divisor`.
    """

    input_price: int
    output_price: int
    tee_signer: str
    confirmed: bool
    takes_batches: bool
    cached_divisor: int = 1

    @property
    def form(self) -> Form:
        return "batch" if self.takes_batches else "entries"


@dataclass(frozen=True, slots=True)
class Landed:
    """A mined transaction. `outcomes` are in the order of its settlements, and empty if it failed."""

    succeeded: bool
    mined: Mined
    outcomes: tuple[Outcome, ...]
    transaction: str


@dataclass(frozen=True, slots=True)
class PastSettlement:
    """A settlement of one user that the chain accepted, regardless of who sent it.

    `settlement` is decoded from the transaction's calldata; None if the provider called through a contract, so that
    the calldata cannot be decoded.
    """

    user: str
    settlement: UserSettlement | None
    acceptance: Acceptance


class SettlementChain(Protocol):
    """One provider's service contract on one chain, and the provider's wallet."""

    @property
    def chain_id(self) -> int: ...

    @property
    def contract(self) -> str:
        """The service contract's address."""
        ...

    @property
    def provider(self) -> str:
        """The address of the provider's wallet."""
        ...

    async def block_hash(self, number: int) -> str | None:
        """The hash of a block; None if the chain does not have it."""
        ...

    async def head(self) -> Head: ...

    async def final_block(self, depth: int | None) -> int:
        """The number of the newest block that is final.

        On a public chain, this is the block tagged `finalized` if the node serves that tag. Otherwise it is the block
        at depth `depth`: by default 64, and 1 (the newest block) on chain 31337.
        """
        ...

    async def service(self) -> Service | None:
        """The provider's service; None if the provider has none."""
        ...

    async def accounts(self, users: Sequence[str], block: int | None = None) -> dict[str, Account]:
        """The users' accounts with the provider, at a block or now. Users without an account are omitted."""
        ...

    async def preview(self, signed: SignedSettlements) -> list[Outcome]:
        """The outcomes that settling would have now, in the order of the settlements."""
        ...

    async def wallet_nonce(self) -> int:
        """The next nonce of the provider's wallet, including pending transactions."""
        ...

    async def mined_wallet_nonce(self, depth: int) -> int:
        """The number of mined transactions of the wallet at the block of this depth (1 is the newest block)."""
        ...

    async def wallet_nonce_at(self, block: int) -> int:
        """The number of mined transactions of the wallet at a recent block."""
        ...

    async def prepare(
        self, signed: SignedSettlements, nonce: int, gas_limit: int, gas_price_cap: int, reserve: int
    ) -> Transaction:
        """Sign a transaction that would succeed now, without broadcasting it. The cap is in wei per gas.

        Its gas limit is the current estimate plus `reserve`. Raises TooMuchGas, or ServingError with the reason why it
        cannot be sent.
        """
        ...

    async def replace(self, signed: SignedSettlements, stuck: Transaction, gas_price_cap: int) -> Transaction:
        """Sign a replacement transaction: same nonce, higher fee. Raises ServingError if the cap is too low."""
        ...

    async def empty(self, nonce: int, stuck: Transaction | None, gas_price_cap: int) -> Transaction:
        """Sign an empty transaction from the wallet to itself, with a fee high enough to replace `stuck`.

        Raises ServingError if the cap is too low.
        """
        ...

    async def broadcast(self, transaction: Transaction) -> None:
        """Broadcast a transaction. Repeating this is harmless, and a nonce that is already used is not an error.

        Raises Underpriced if another transaction has this nonce and the fee is too low to replace it.
        """
        ...

    async def landed(self, transaction: Transaction, signed: SignedSettlements) -> Landed | None:
        """The result of a transaction; None while it is not mined. Raises Disagreement.

        An empty transaction has no outcomes.
        """
        ...

    async def search(self, signed: SignedSettlements, from_block: int) -> list[Landed]:
        """All transactions that carried these settlements, sent by anybody, from the events since a block."""
        ...

    async def past_settlements(self, users: Sequence[str], from_block: int) -> list[PastSettlement]:
        """Accepted settlements of these users with this provider, in chain order."""
        ...

    async def paid_since(self, block_number: int, form: Form, known: Container[str]) -> list[PastSettlement]:
        """Settlements of this form with this provider, accepted after a block, in chain order.

        Transactions whose hashes are in `known` are skipped.
        """
        ...

    async def calls_since(self, block_number: int) -> dict[int, str]:
        """The wallet's transactions after a block that call this contract for a settlement: the hash by the nonce."""
        ...
