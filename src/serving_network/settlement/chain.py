"""What a settlement run asks of a chain, and nothing more.

`SettlementChain` is the whole of it: `live` answers it through a node, the tests through a chain of their own
that forgets, lies, reorganises and dies.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple, Protocol

from serving_network.clients.models import Account
from serving_network.errors import NodeFailure, TransactionFailure
from serving_network.settlement.journal import Mined, Outcome, Transaction
from serving_network.settlement.typed_data import UserSettlement

Form = Literal["entries", "batch"]
"""How a batch is signed: each settlement on its own, or all rows at once."""

ROWS_AT_MOST: Final[dict[Form, int]] = {"entries": 50, "batch": 200}


class Disagreement(NodeFailure):
    """What the node says does not fit together: a receipt without its events, or against the accounts."""


class TooMuchGas(TransactionFailure):
    """A batch needs more gas than one transaction may use; fewer rows may not."""


class Head(NamedTuple):
    """The newest block; its time in seconds since 1970."""

    number: int
    timestamp: int


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


@dataclass(frozen=True, slots=True)
class BookLine:
    """One contract's books, in wei: the coins it holds and what it owes, item by item."""

    contract: str
    address: str
    held: int
    owed: dict[str, int]

    @property
    def surplus(self) -> int:
        """What is held beyond what is owed: 0, or more where somebody forced coins in. Never less."""
        return self.held - sum(self.owed.values())


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

    async def service(self) -> Service | None:
        """The provider's service; None if the provider has none."""
        ...

    async def accounts(self, users: Sequence[str]) -> dict[str, Account]:
        """The users' accounts with the provider; users without one are left out."""
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

    async def prepare(self, signed: SignedSettlements, nonce: int, gas_limit: int, gas_price_cap: int) -> Transaction:
        """A transaction that would succeed now, not yet broadcast. The cap is in wei per gas.

        Raises TooMuchGas, and ServingError with the reason why it cannot be sent.
        """
        ...

    async def replace(self, signed: SignedSettlements, stuck: Transaction, gas_price_cap: int) -> Transaction:
        """The same with a higher fee: of the two only one can be mined. Raises ServingError at the cap."""
        ...

    async def broadcast(self, transaction: Transaction) -> None:
        """Give a transaction to the node. Giving it again does no harm; that its nonce is used is no error."""
        ...

    async def landed(self, transaction: Transaction, signed: SignedSettlements) -> Landed | None:
        """What a transaction did; None as long as it is not mined. Raises Disagreement."""
        ...

    async def search(self, signed: SignedSettlements, from_block: int) -> Landed | None:
        """Look through the events for a transaction, ours or not, that carried these settlements."""
        ...

    async def books(self) -> list[BookLine]:
        """The books of every contract of the network, as of one block."""
        ...
