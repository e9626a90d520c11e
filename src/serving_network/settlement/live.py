# SPDX-License-Identifier: Apache-2.0
"""The settlement chain, implemented with a node through the typed client."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from serving_network.chain.connection import AsyncConnection
from serving_network.chain.contract import Contract
from serving_network.chain.fees import REPLACEMENT_PERCENT, Fees
from serving_network.chain.node import from_quantity
from serving_network.chains import LOCAL_CHAIN
from serving_network.clients.read.network import LOCAL_LEDGER, AsyncNetwork
from serving_network.clients.settlements import (
    Disagreement,
    Outcome,
    SignedSettlements,
)
from serving_network.contracts.errors import ServiceNotExist, TransferFailed
from serving_network.contracts.models import Account, Offer, ProviderService
from serving_network.counting import count
from serving_network.errors import InvalidInput, RpcError, TransactionDropped, TransactionFailure
from serving_network.messages.prices import cached_divisor
from serving_network.messages.transactions import SignedTransaction
from serving_network.money import describe
from serving_network.settlement.chain import (
    Head,
    Landed,
    Service,
    TooMuchGas,
    Underpriced,
)
from serving_network.settlement.history import History, mined_in
from serving_network.settlement.journal.records import Transaction
from serving_network.signing import Signer
from serving_network.store.opening import JournalFailure

FINAL_DEPTH: Final = 64
"""The depth of a final block if the node does not serve the tag `finalized`: two Ethereum epochs."""

_UNDERPRICED: Final = ("underpriced", "could not replace", "replacementnotallowed", "feetoolowtocompete")
"""Parts of the messages with which nodes reject a replacement transaction whose fee is too low."""


class GasPriceAboveCap(TransactionFailure):
    """A transaction would need a higher fee per gas than the run may pay."""


class WalletRefusesCoins(TransactionFailure):
    """The provider's wallet does not accept the payment of a settlement."""


class LiveChain(History):
    """The inference service `service` of a network, for the provider with the key `wallet`. Use `open`."""

    def __init__(
        self, chain: AsyncConnection, network: AsyncNetwork, service: str, contract: Contract, wallet: Signer
    ) -> None:
        super().__init__(network, contract, wallet.address)
        self._service = service
        self._wallet = wallet
        self._chain = chain

    @classmethod
    async def open(
        cls, chain: AsyncConnection, wallet: Signer, ledger: str = LOCAL_LEDGER, *, service: str = "inference"
    ) -> LiveChain:
        """Look up the service. Raises UnknownName, and InvalidInput if it is not an inference service."""
        network = AsyncNetwork(chain, ledger)
        found = await network.service(service)
        if found.kind != "inference":
            raise InvalidInput(
                f"{found.name} settles deliverables one by one, not from a usage log.",
                next_step="Name an inference service with --service.",
            )
        return cls(chain, network, found.name, found.contract, wallet)

    @property
    def chain_id(self) -> int:
        return self._chain.chain_id

    @property
    def contract(self) -> str:
        return self._contract.address

    @property
    def provider(self) -> str:
        return self._wallet.address

    async def block_hash(self, number: int) -> str | None:
        return await self._chain.block_hash(number)

    async def head(self) -> Head:
        block = await self._chain.block("latest")
        return Head(from_quantity(block.get("number")), from_quantity(block.get("timestamp")), str(block["hash"]))

    async def final_block(self, depth: int | None) -> int:
        newest = await self._chain.block_number()
        local = self.chain_id == LOCAL_CHAIN
        if not local and (tagged := await self._finalized_block()) is not None:
            if tagged > newest:
                raise Disagreement(f"The node reports block {tagged} as final, but its newest block is {newest}.")
            return tagged
        return max(0, newest + 1 - (depth or (1 if local else FINAL_DEPTH)))

    async def _finalized_block(self) -> int | None:
        """The number of the block tagged `finalized`; None if the node does not serve that tag."""
        try:
            block = await self._chain.rpc("eth_getBlockByNumber", ["finalized", False])
        except RpcError:
            return None
        return None if block is None else from_quantity(block.get("number"))

    async def service(self) -> Service | None:
        try:
            answer = await self._contract.read("getService", self.provider)
        except ServiceNotExist:
            return None
        found = ProviderService.read(self._service, answer)
        if not isinstance(found.offer, Offer):
            raise Disagreement("The node returned a service of another kind.")
        takes_batches = await self._contract.has("settleBatchWithTEE", [], b"", sender=self.provider)
        return Service(
            found.offer.input_price,
            found.offer.output_price,
            found.offer.tee_signer,
            found.confirmed,
            takes_batches,
            cached_divisor(found.offer.additional_info),
        )

    async def accounts(self, users: Sequence[str], block: int | None = None) -> dict[str, Account]:
        at = "latest" if block is None else block
        return await self._network.accounts_with(self.provider, users, self._service, block=at)

    async def preview(self, signed: SignedSettlements) -> list[Outcome]:
        block = await self._chain.block_number()
        accounts = await self.accounts([row.user for row in signed.settlements], block)
        balances = {user: account.balance for user, account in accounts.items()}
        try:
            return await self._wire.preview(signed, balances, block)
        except TransferFailed as error:
            raise self._refuses_coins(error) from error

    def _refuses_coins(self, error: TransferFailed) -> WalletRefusesCoins:
        return WalletRefusesCoins(
            f"The provider's wallet {self.provider} does not accept coins, so nothing can be settled.",
            cause=error.message,
            next_step="Remove the wallet's code delegation, then run again.",
        )

    async def wallet_nonce(self) -> int:
        counts = [await self._transactions_of_wallet(block) for block in ("latest", "pending")]
        return max(counts)

    async def mined_wallet_nonce(self, depth: int) -> int:
        if depth == 1:
            return await self._transactions_of_wallet("latest")
        newest = await self._chain.block_number()
        return await self._transactions_of_wallet(hex(max(0, newest - depth + 1)))

    async def wallet_nonce_at(self, block: int) -> int:
        return await self._transactions_of_wallet(hex(block))

    async def prepare(
        self, signed: SignedSettlements, nonce: int, gas_limit: int, gas_price_cap: int, reserve: int
    ) -> Transaction:
        fees = await self._fees(gas_price_cap)
        data = self._wire.calldata(signed)
        try:
            gas = await self._chain.estimate_gas(self.provider, self.contract, data) + reserve
            if gas > gas_limit:
                raise TooMuchGas(
                    f"A batch of {count(len(signed.settlements), 'settlement')} needs up to {gas} gas, but the limit is"
                    f" {gas_limit}.",
                    next_step="Run again with a higher --gas-limit.",
                )
            made = await self._chain.prepare(self._wallet, self.contract, data, gas=gas, nonce=nonce, fees=fees)
        except TransferFailed as error:
            raise self._refuses_coins(error) from error
        return _written(made)

    async def replace(self, signed: SignedSettlements, stuck: Transaction, gas_price_cap: int) -> Transaction:
        self._check_replaceable(stuck, gas_price_cap)
        fees = await self._fees(gas_price_cap)
        return _written(
            await self._chain.replace(self._wallet, self._as_sent(stuck, self._wire.calldata(signed)), fees=fees)
        )

    async def empty(self, nonce: int, stuck: Transaction | None, gas_price_cap: int) -> Transaction:
        self._check_replaceable(stuck, gas_price_cap)
        fees = await self._fees(gas_price_cap)
        if stuck is None:
            made = await self._chain.prepare(self._wallet, self.provider, b"", gas=21_000, nonce=nonce, fees=fees)
        else:
            made = await self._chain.replace(self._wallet, self._as_sent(stuck), fees=fees, cancel=True)
        return _written(made)._replace(purpose="cancel")

    def _check_replaceable(self, stuck: Transaction | None, cap: int) -> None:
        """Raise GasPriceAboveCap if replacing a stuck transaction needs a fee above the cap."""
        if stuck is None:
            return
        needed = Fees(stuck.max_fee_per_gas, 0).raised(REPLACEMENT_PERCENT).max_fee_per_gas
        if needed > cap:
            raise GasPriceAboveCap(
                f"A transaction is stuck at {describe(stuck.max_fee_per_gas)} per gas.",
                transaction=stuck.hash,
                cause=f"Replacing it requires {describe(needed)} per gas, the cap is {describe(cap)}.",
                next_step=f"Wait, or run again with --max-fee '{needed} wei' or more.",
            )

    async def broadcast(self, transaction: Transaction) -> None:
        try:
            await self._chain.broadcast(self._as_sent(transaction))
        except TransactionDropped:
            return
        except TransactionFailure as error:
            if any(word in str(error).lower() for word in _UNDERPRICED):
                raise Underpriced(
                    str(error), transaction=error.transaction, cause=error.cause, next_step=error.next_step
                ) from error
            raise

    async def landed(self, transaction: Transaction, signed: SignedSettlements) -> Landed | None:
        receipt = await self._chain.receipt(transaction.hash)
        if receipt is not None and transaction.purpose == "cancel":
            return Landed(receipt.succeeded, mined_in(receipt), (), receipt.transaction_hash)
        return None if receipt is None else self.read(receipt, signed)

    async def _transactions_of_wallet(self, block: str) -> int:
        return from_quantity(await self._chain.rpc("eth_getTransactionCount", [self.provider, block]))

    async def _fees(self, cap: int) -> Fees:
        """The fees for a transaction now: at most the cap, at least the base fee."""
        fees = await self._chain.suggested_fees()
        if fees.max_fee_per_gas <= cap:
            return fees
        base = from_quantity((await self._chain.block("latest")).get("baseFeePerGas") or "0x0")
        if fees.legacy or base >= cap:
            raise GasPriceAboveCap(
                f"The gas price is {describe(base or fees.max_fee_per_gas)}, the cap is {describe(cap)} per gas.",
                cause="Nothing was sent.",
                next_step="Wait, or run again with a higher --max-fee.",
            )
        return Fees(cap, min(fees.max_priority_fee_per_gas, cap))

    def _as_sent(self, transaction: Transaction, data: bytes | None = None) -> SignedTransaction:
        """The transaction as it was signed. Raises JournalFailure if it differs from the journal, or from `data`."""
        expected = {
            "hash": transaction.hash,
            "nonce": transaction.nonce,
            "gas": transaction.gas,
            "max_fee_per_gas": transaction.max_fee_per_gas,
            "max_priority_fee_per_gas": transaction.max_priority_fee_per_gas,
            "legacy": transaction.legacy,
        }
        try:
            sent = SignedTransaction.decode(transaction.raw, self._wallet.address)
            wrong = sent.differences(expected if data is None else expected | {"data": data})
        except ValueError as error:
            wrong = [str(error)]
        if wrong:
            raise JournalFailure(
                f"The signed transaction {transaction.hash} in the journal is damaged.",
                cause=f"It differs in: {', '.join(wrong)}.",
                next_step="Restore the journal from its newest backup.",
            )
        return sent


def _written(made: SignedTransaction) -> Transaction:
    return Transaction(
        made.hash, made.raw, made.nonce, made.gas, made.max_fee_per_gas, made.max_priority_fee_per_gas, made.legacy
    )
