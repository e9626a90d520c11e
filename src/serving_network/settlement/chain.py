"""What a settlement run asks of a chain, and nothing more.

`SettlementChain` is the whole of it: `live` answers it through a node, the tests through a chain of their own
that forgets, lies, reorganises and dies.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple, Protocol

from serving_network.clients.models import Account
from serving_network.errors import NodeFailure, TransactionFailure
from serving_network.settlement.journal import Acceptance, Mined, Outcome, Transaction
from serving_network.settlement.typed_data import UserSettlement

Form = Literal["entries", "batch"]
"""How a batch is signed: each settlement on its own, or all rows at once."""

LOCAL_CHAIN_ID: Final = 31337
"""The chain of a development node, which is set back, restarted and reorganised at will."""

ROWS_AT_MOST: Final[dict[Form, int]] = {"entries": 50, "batch": 200}


class Disagreement(NodeFailure):
    """What the node says does not fit together: a receipt without its events, or against the accounts."""


class TooMuchGas(TransactionFailure):
    """A batch needs more gas than one transaction may use; fewer rows may not."""


class Underpriced(TransactionFailure):
    """The node wants a higher fee for a transaction before it takes the place of another one with its nonce."""


class Head(NamedTuple):
    """The newest block; its time in seconds since 1970."""

    number: int
    timestamp: int
    hash: str


@dataclass(frozen=True, slots=True)
class Service:
    """The provider's service. Prices in wei per token; `confirmed` is the owner's confirmation of the signer."""

    input_price: int
    output_price: int
    tee_signer: str
    confirmed: bool
    takes_batches: bool

    @property
    def form(self) -> Form:
        return "batch" if self.takes_batches else "entries"


@dataclass(frozen=True, slots=True)
class SignedSettlements:
    """What one transaction carries: a signature for each settlement, or one for all of them."""

    form: Form
    settlements: tuple[UserSettlement, ...]
    signatures: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Landed:
    """A transaction that was mined. `outcomes` are in the order of its settlements, empty if it failed."""

    succeeded: bool
    mined: Mined
    outcomes: tuple[Outcome, ...]
    transaction: str


@dataclass(frozen=True, slots=True)
class PastSettlement:
    """A settlement of one user that the chain accepted, whoever sent it.

    `settlement` is what was signed, from the transaction's calldata; None where the provider called through a
    contract, so that the calldata cannot be read.
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
        """The hash of a block; None if the chain is not that long."""
        ...

    async def head(self) -> Head: ...

    async def final_block(self, depth: int | None) -> int:
        """The number of the newest block that is final.

        That is the one tagged `finalized` where the chain is public and the node serves it; else the one that is
        `depth` blocks deep, by default 64, and 1 (the newest) on chain 31337.
        """
        ...

    async def service(self) -> Service | None:
        """The provider's service; None if the provider has none."""
        ...

    async def accounts(self, users: Sequence[str], block: int | None = None) -> dict[str, Account]:
        """The users' accounts with the provider, as of a block or now; users without one are left out."""
        ...

    async def preview(self, signed: SignedSettlements) -> list[Outcome]:
        """What settling would do now, in the order of the settlements."""
        ...

    async def wallet_nonce(self) -> int:
        """The next nonce of the provider's wallet, transactions that are waiting to be mined included."""
        ...

    async def mined_wallet_nonce(self, depth: int) -> int:
        """How many transactions of the wallet were mined, as of `depth` blocks deep (1 is the newest block)."""
        ...

    async def wallet_nonce_at(self, block: int) -> int:
        """How many transactions of the wallet were mined up to a block, one of the newest."""
        ...

    async def prepare(
        self, signed: SignedSettlements, nonce: int, gas_limit: int, gas_price_cap: int, reserve: int
    ) -> Transaction:
        """A transaction that would succeed now, not yet broadcast. The cap is in wei per gas.

        It gets the gas that it needs now and `reserve` gas more. Raises TooMuchGas, and ServingError with the reason
        why it cannot be sent.
        """
        ...

    async def replace(self, signed: SignedSettlements, stuck: Transaction, gas_price_cap: int) -> Transaction:
        """The same with a higher fee: of the two only one can be mined. Raises ServingError at the cap."""
        ...

    async def empty(self, nonce: int, stuck: Transaction | None, gas_price_cap: int) -> Transaction:
        """A transaction of the wallet to itself that moves nothing, with a fee that takes the place of `stuck`.

        Raises ServingError at the cap.
        """
        ...

    async def broadcast(self, transaction: Transaction) -> None:
        """Give a transaction to the node. Giving it again does no harm; that its nonce is used is no error.

        Raises Underpriced if another transaction has the nonce and the fee is too low to take its place.
        """
        ...

    async def landed(self, transaction: Transaction, signed: SignedSettlements) -> Landed | None:
        """What a transaction did; None as long as it is not mined. Raises Disagreement.

        An empty one has no outcomes.
        """
        ...

    async def search(self, signed: SignedSettlements, from_block: int) -> list[Landed]:
        """All transactions, ours or not, that carried these settlements, from the events since a block."""
        ...

    async def past_settlements(self, users: Sequence[str], from_block: int) -> list[PastSettlement]:
        """Settlements with this provider that the chain accepted for these users, in the order of the chain."""
        ...

    async def paid_since(self, block_number: int, form: Form, known: Container[str]) -> list[PastSettlement]:
        """Settlements of this form with this provider, accepted after a block, in the order of the chain.

        Those of transactions whose hashes are `known` are left out.
        """
        ...

    async def calls_since(self, block_number: int) -> dict[int, str]:
        """The wallet's transactions after a block that call this contract for a settlement: the hash by the nonce."""
        ...
