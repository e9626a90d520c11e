"""A settlement run's questions, answered by a node through the typed client."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any, Final

from serving_network.chain.contract_errors import ServiceNotExist, TransferFailed
from serving_network.chain.node import from_quantity
from serving_network.chain.signer import Signer
from serving_network.chain.transactions import Fees, Receipt, SignedTransaction
from serving_network.clients.contract import Contract
from serving_network.clients.models import Account, Offer, ProviderService, Status
from serving_network.clients.network import AsyncNetwork
from serving_network.contracts.codec import DecodedEvent
from serving_network.errors import InvalidInput, TransactionDropped, TransactionFailure
from serving_network.money import describe
from serving_network.settlement.books import read_books
from serving_network.settlement.chain import (
    BookLine,
    Disagreement,
    Head,
    Landed,
    Service,
    SignedSettlements,
    TooMuchGas,
)
from serving_network.settlement.journal import Mined, Outcome, Transaction

_STATUSES_PER_WORD: Final = 64


class GasPriceAboveCap(TransactionFailure):
    """A transaction would have to offer more for its gas than the run may spend."""


class WalletRefusesCoins(TransactionFailure):
    """The provider's wallet cannot receive what the settlement pays."""


class LiveChain:
    """The inference service `service` of a network, for the provider whose key is `wallet`."""

    def __init__(self, network: AsyncNetwork, service: str, contract: Contract, wallet: Signer) -> None:
        self._network = network
        self._service = service
        self._contract = contract
        self._wallet = wallet
        self._chain = network.chain

    @classmethod
    async def open(cls, network: AsyncNetwork, wallet: Signer, service: str = "inference") -> LiveChain:
        """Look the service up. Raises UnknownName, and InvalidInput if it is no inference service."""
        found = await network.service(service)
        if found.kind != "inference":
            raise InvalidInput(
                f"{found.name} settles its deliverables one by one, not from a usage log.",
                next_step="Name an inference service with --service.",
            )
        return cls(network, found.name, found.contract, wallet)

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
        found = await self._chain.rpc("eth_getBlockByNumber", [hex(number), False])
        if found is not None and not (isinstance(found, dict) and isinstance(found.get("hash"), str)):
            raise Disagreement("The node sent a block that is none.")
        return None if found is None else str(found["hash"])

    async def head(self) -> Head:
        block = await self._chain.block("latest")
        return Head(from_quantity(block.get("number")), from_quantity(block.get("timestamp")))

    async def service(self) -> Service | None:
        try:
            told = await self._contract.read("getService", self.provider)
        except ServiceNotExist:
            return None
        found = ProviderService.read(self._service, told)
        if not isinstance(found.offer, Offer):
            raise Disagreement("The node describes another kind of service than was asked for.")
        takes_batches = await self._contract.has("settleBatchWithTEE", [], b"", sender=self.provider)
        return Service(
            found.offer.input_price, found.offer.output_price, found.offer.tee_signer, found.confirmed, takes_batches
        )

    async def accounts(self, users: Sequence[str]) -> dict[str, Account]:
        return await self._network.accounts_with(self.provider, users, self._service)

    async def preview(self, signed: SignedSettlements) -> list[Outcome]:
        if signed.form == "batch":
            return await self._preview_batch(signed)
        failed, reasons, partial, unsettled = await self._contract.read(
            "previewSettlementResults", self._entries(signed), sender=self.provider
        )
        if len(failed) != len(reasons) or len(partial) != len(unsettled):
            raise Disagreement("The node's preview has lists of different lengths.")
        refused = dict(zip(failed, reasons, strict=True))
        short = dict(zip(partial, unsettled, strict=True))
        outcomes = []
        for row in signed.settlements:
            if row.user in refused:
                outcomes.append(Outcome(_status(refused[row.user]), 0))
            elif row.user in short:
                outcomes.append(Outcome(Status.PARTIAL, row.total_fee - short[row.user]))
            else:
                outcomes.append(Outcome(Status.SUCCESS, row.total_fee))
        return outcomes

    async def _preview_batch(self, signed: SignedSettlements) -> list[Outcome]:
        """A batch is its own preview: called without a transaction it returns four bits of status per row."""
        users = [row.user for row in signed.settlements]
        accounts = await self.accounts(users)
        try:
            words = await self._contract.read(
                "settleBatchWithTEE", _rows(signed), signed.signatures[0], sender=self.provider
            )
        except TransferFailed as error:
            raise self._refuses_coins(error) from error
        outcomes = []
        if len(words) * _STATUSES_PER_WORD < len(signed.settlements):
            raise Disagreement("The node's preview has no status for each settlement.")
        for place, row in enumerate(signed.settlements):
            status = _status(words[place // _STATUSES_PER_WORD] >> 4 * (place % _STATUSES_PER_WORD) & 15)
            held = accounts[row.user].balance if row.user in accounts else 0
            outcomes.append(Outcome(status, min(row.total_fee, held) if status.paid else 0))
        return outcomes

    def _refuses_coins(self, error: TransferFailed) -> WalletRefusesCoins:
        return WalletRefusesCoins(
            f"The provider's wallet {self.provider} does not accept coins, so nothing can be settled to it.",
            cause=error.message,
            next_step="Remove the code that the wallet delegates to, then run again.",
        )

    async def wallet_nonce(self) -> int:
        counts = [await self._transactions_of_wallet(block) for block in ("latest", "pending")]
        return max(counts)

    async def mined_wallet_nonce(self, depth: int) -> int:
        if depth == 1:
            return await self._transactions_of_wallet("latest")
        newest = await self._chain.block_number()
        return await self._transactions_of_wallet(hex(max(0, newest - depth + 1)))

    async def prepare(self, signed: SignedSettlements, nonce: int, gas_limit: int, gas_price_cap: int) -> Transaction:
        fees = await self._fees(gas_price_cap)
        try:
            made = await self._chain.prepare(self._wallet, self.contract, self._data(signed), nonce=nonce, fees=fees)
        except TransferFailed as error:
            raise self._refuses_coins(error) from error
        if made.gas > gas_limit:
            raise TooMuchGas(
                f"A batch of {len(signed.settlements)} needs {made.gas} gas, the limit is {gas_limit}.",
                next_step="Run again with a higher --gas-limit.",
            )
        return _written(made)

    async def replace(self, signed: SignedSettlements, stuck: Transaction, gas_price_cap: int) -> Transaction:
        if stuck.max_fee_per_gas * 125 // 100 + 1 > gas_price_cap:
            raise GasPriceAboveCap(
                f"A transaction is stuck at {describe(stuck.max_fee_per_gas)} per gas.",
                transaction=stuck.hash,
                cause=f"Replacing it costs more than the cap of {describe(gas_price_cap)} per gas.",
                next_step="Wait, or run again with a higher --max-fee.",
            )
        fees = await self._fees(gas_price_cap)
        return _written(await self._chain.replace(self._wallet, self._as_sent(signed, stuck), fees=fees))

    async def broadcast(self, transaction: Transaction) -> None:
        try:
            await self._chain.broadcast(self._as_sent(None, transaction))
        except TransactionDropped:
            return

    async def landed(self, transaction: Transaction, signed: SignedSettlements) -> Landed | None:
        receipt = await self._chain.receipt(transaction.hash)
        return None if receipt is None else self._read(receipt, signed)

    async def search(self, signed: SignedSettlements, from_block: int) -> Landed | None:
        event = "BatchRowSettled" if signed.form == "batch" else "TEESettlementResult"
        topic = "0x" + self._contract.interface.topic(event).hex()
        logs = await self._chain.logs(
            [self.contract], topics=[topic], from_block=from_block, to_block=await self._chain.block_number()
        )
        users = [row.user for row in signed.settlements]
        for transaction_hash, group in groupby(logs, key=lambda log: str(log.get("transactionHash"))):
            told = [self._contract.interface.decode_log(log) for log in group]
            if [event.args["user"] for event in told if event is not None] != users:
                continue
            sent = await self._chain.transaction(transaction_hash)
            if sent is None or sent["input"].lower() != "0x" + self._data(signed).hex():
                continue
            receipt = await self._chain.receipt(transaction_hash)
            if receipt is not None:
                return self._read(receipt, signed)
        return None

    async def books(self) -> list[BookLine]:
        return await read_books(self._network)

    def _read(self, receipt: Receipt, signed: SignedSettlements) -> Landed:
        mined = Mined(receipt.block_number, receipt.block_hash, receipt.gas_used, receipt.cost)
        if not receipt.succeeded:
            return Landed(False, mined, ())
        events = [self._contract.interface.decode_log(log) for log in receipt.logs]
        ours = [event for event in events if event is not None and event.address == self.contract]
        name = "BatchRowSettled" if signed.form == "batch" else "TEESettlementResult"
        results = [event for event in ours if event.name == name]
        if [event.args["user"] for event in results] != [row.user for row in signed.settlements]:
            raise Disagreement(
                f"The receipt of {receipt.transaction_hash} does not tell a result for each settlement.",
                cause=f"It has {len(results)} results for {len(signed.settlements)} settlements, or of other users.",
                next_step="Run again with another node: the settlements stay open until one tells the whole.",
            )
        return Landed(
            True,
            mined,
            tuple(_outcome(event, row.total_fee) for event, row in zip(results, signed.settlements, strict=True)),
        )

    def _data(self, signed: SignedSettlements) -> bytes:
        interface = self._contract.interface
        if signed.form == "batch":
            return interface.encode("settleBatchWithTEE", _rows(signed), signed.signatures[0])
        return interface.encode("settleFeesWithTEE", self._entries(signed))

    def _entries(self, signed: SignedSettlements) -> list[tuple[Any, ...]]:
        return [
            (row.user, self.provider, row.total_fee, row.requests_hash, row.nonce, signature)
            for row, signature in zip(signed.settlements, signed.signatures, strict=True)
        ]

    async def _transactions_of_wallet(self, block: str) -> int:
        return from_quantity(await self._chain.rpc("eth_getTransactionCount", [self.provider, block]))

    async def _fees(self, cap: int) -> Fees:
        """What to offer for gas now: at most the cap, and no less than what a block asks."""
        fees = await self._chain.suggested_fees()
        if fees.max_fee_per_gas <= cap:
            return fees
        base = from_quantity((await self._chain.block("latest")).get("baseFeePerGas") or "0x0")
        if fees.legacy or base >= cap:
            raise GasPriceAboveCap(
                f"Gas costs {describe(base or fees.max_fee_per_gas)}, the cap is {describe(cap)} per gas.",
                cause="Nothing was sent.",
                next_step="Wait, or run again with a higher --max-fee.",
            )
        return Fees(cap, min(fees.max_priority_fee_per_gas, cap))

    def _as_sent(self, signed: SignedSettlements | None, transaction: Transaction) -> SignedTransaction:
        return SignedTransaction(
            hash=transaction.hash,
            raw=transaction.raw,
            sender=self._wallet.address,
            nonce=transaction.nonce,
            to=self._contract.address,
            value=0,
            data=b"" if signed is None else self._data(signed),
            gas=transaction.gas,
            max_fee_per_gas=transaction.max_fee_per_gas,
            max_priority_fee_per_gas=transaction.max_priority_fee_per_gas,
            legacy=transaction.legacy,
        )


def _rows(signed: SignedSettlements) -> list[tuple[Any, ...]]:
    """The rows of a batch as the contract takes them: the user in the upper 160 bits, the fee in the lower 96."""
    return [(int(row.user, 16) << 96 | row.total_fee, row.nonce, row.requests_hash) for row in signed.settlements]


def _outcome(event: DecodedEvent, fee: int) -> Outcome:
    """A settlement's outcome from its event. Raises Disagreement if the amounts cannot be."""
    told = event.args
    paid = told["paid"] if event.name == "BatchRowSettled" else fee - told["unsettledAmount"]
    status = _status(told["status"])
    if not 0 <= paid <= fee or (status == Status.SUCCESS and paid != fee) or (not status.paid and paid):
        raise Disagreement(f"The node tells of status {status.name} with {paid} wei paid of {fee}.")
    return Outcome(status, paid)


def _status(number: int) -> Status:
    try:
        return Status(number)
    except ValueError as error:
        raise Disagreement(f"The node tells of an unknown settlement status {number}.") from error


def _written(made: SignedTransaction) -> Transaction:
    return Transaction(
        made.hash, made.raw, made.nonce, made.gas, made.max_fee_per_gas, made.max_priority_fee_per_gas, made.legacy
    )
