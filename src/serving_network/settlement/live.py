"""The settlement chain, implemented with a node through the typed client."""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import Any, Final, cast

from eth_utils.address import to_checksum_address

from serving_network.chain.connection import AsyncConnection
from serving_network.chain.contract import Contract
from serving_network.chain.node import from_quantity
from serving_network.chain.receipts import Receipt
from serving_network.chain.sender import REPLACEMENT_PERCENT, Fees
from serving_network.clients.read.network import AsyncNetwork
from serving_network.clients.settlements import (
    RESULT_EVENTS,
    Disagreement,
    Form,
    Outcome,
    SettlementWire,
    SignedSettlements,
    known_status,
    outcome_of,
)
from serving_network.contracts.codec import DecodedEvent
from serving_network.contracts.errors import ServiceNotExist, TransferFailed
from serving_network.contracts.models import Account, Offer, ProviderService, Status
from serving_network.errors import InvalidInput, RpcError, TransactionDropped, TransactionFailure
from serving_network.messages.transactions import SignedTransaction
from serving_network.messages.typed_data import UserSettlement
from serving_network.money import describe
from serving_network.settlement.chain import (
    LOCAL_CHAIN_ID,
    Head,
    Landed,
    PastSettlement,
    Service,
    TooMuchGas,
    Underpriced,
)
from serving_network.settlement.journal.records import Acceptance, Mined, Transaction
from serving_network.settlement.report import count
from serving_network.signing import Signer
from serving_network.store.sqlite import JournalFailure

FINAL_DEPTH: Final = 64
"""The depth of a final block if the node does not serve the tag `finalized`: two Ethereum epochs."""

USERS_PER_FILTER: Final = 100

_UNDERPRICED: Final = ("underpriced", "could not replace", "replacementnotallowed", "feetoolowtocompete")
"""Parts of the messages with which nodes reject a replacement transaction whose fee is too low."""


class GasPriceAboveCap(TransactionFailure):
    """A transaction would need a higher fee per gas than the run may pay."""


class WalletRefusesCoins(TransactionFailure):
    """The provider's wallet does not accept the payment of a settlement."""


class LiveChain:
    """The inference service `service` of a network, for the provider with the key `wallet`."""

    def __init__(self, network: AsyncNetwork, service: str, contract: Contract, wallet: Signer) -> None:
        self._network = network
        self._service = service
        self._contract = contract
        self._wallet = wallet
        self._wire = SettlementWire(contract, wallet.address)
        self._chain = cast("AsyncConnection", network.chain)

    @classmethod
    async def open(cls, network: AsyncNetwork, wallet: Signer, service: str = "inference") -> LiveChain:
        """Look up the service. `network` must hold a connection that can send.

        Raises UnknownName, and InvalidInput if it is not an inference service.
        """
        found = await network.service(service)
        if found.kind != "inference":
            raise InvalidInput(
                f"{found.name} settles deliverables one by one, not from a usage log.",
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
            raise Disagreement("The node sent an invalid block.")
        return None if found is None else str(found["hash"])

    async def head(self) -> Head:
        block = await self._chain.block("latest")
        return Head(from_quantity(block.get("number")), from_quantity(block.get("timestamp")), str(block["hash"]))

    async def final_block(self, depth: int | None) -> int:
        newest = await self._chain.block_number()
        local = self.chain_id == LOCAL_CHAIN_ID
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
            found.offer.input_price, found.offer.output_price, found.offer.tee_signer, found.confirmed, takes_batches
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
            return Landed(receipt.succeeded, _mined(receipt), (), receipt.transaction_hash)
        return None if receipt is None else self._read(receipt, signed)

    async def search(self, signed: SignedSettlements, from_block: int) -> list[Landed]:
        data = "0x" + self._wire.calldata(signed).hex()
        return [
            self._read(receipt, signed)
            for receipt, sent in await self._settled([signed.settlements[0].user], from_block)
            if str(sent["input"]).lower() == data
        ]

    async def past_settlements(self, users: Sequence[str], from_block: int) -> list[PastSettlement]:
        wanted = set(users)
        return [
            one
            for receipt, sent in await self._settled(users, from_block)
            for one in await self._past(receipt, sent)
            if one.user in wanted
        ]

    async def _settled(self, users: Sequence[str], from_block: int) -> list[tuple[Receipt, dict[str, Any]]]:
        """The transactions since a block with results for these users, as receipt and transaction, in chain order."""
        interface = self._contract.interface
        events = ["0x" + interface.topic(name).hex() for name in RESULT_EVENTS.values()]
        newest = await self._chain.block_number()
        if from_block > newest:
            return []
        places: dict[str, tuple[int, int]] = {}
        for start in range(0, len(users), USERS_PER_FILTER):
            some = [_topic(user) for user in users[start : start + USERS_PER_FILTER]]
            for log in await self._chain.logs(
                [self.contract], topics=[events, some], from_block=from_block, to_block=newest
            ):
                place = from_quantity(log["blockNumber"]), from_quantity(log["logIndex"])
                places.setdefault(str(log["transactionHash"]), place)
        return [await self._mined_with_events(one) for one in sorted(places, key=places.__getitem__)]

    async def _mined_with_events(self, transaction: str) -> tuple[Receipt, dict[str, Any]]:
        """A transaction whose events the node has shown, as receipt and transaction."""
        receipt, sent = await self._chain.receipt(transaction), await self._chain.transaction(transaction)
        if receipt is None or sent is None:
            raise Disagreement(f"The node has events of transaction {transaction}, but not the transaction.")
        return receipt, sent

    async def paid_since(self, block_number: int, form: Form, known: Container[str]) -> list[PastSettlement]:
        interface, newest = self._contract.interface, await self._chain.block_number()
        if block_number >= newest:
            return []  # nodes reject a range that starts after the newest block
        provider = _topic(self.provider)
        if form == "batch":
            topics: list[Any] = ["0x" + interface.topic("BatchSettled").hex(), provider]
        else:
            topics = ["0x" + interface.topic("BalanceUpdated").hex(), None, provider]
        logs = await self._chain.logs([self.contract], topics=topics, from_block=block_number + 1, to_block=newest)
        hashes = [one for one in dict.fromkeys(str(log["transactionHash"]) for log in logs) if one not in known]
        shown = await self._chain.batch([("eth_getTransactionByHash", [one]) for one in hashes])
        ledger = self._network.ledger_contract.address.lower()
        past: list[PastSettlement] = []
        for transaction, sent in zip(hashes, shown, strict=True):
            if isinstance(sent, dict) and str(sent.get("to")).lower() == ledger:
                continue  # deposits and refunds also change balances
            past += await self._past(*await self._mined_with_events(transaction))
        return past

    async def calls_since(self, block_number: int) -> dict[int, str]:
        newest = await self._chain.block_number()
        blocks = range(block_number, newest + 1)
        counts = await self._chain.batch([("eth_getTransactionCount", [self.provider, hex(one)]) for one in blocks])
        calls: dict[int, str] = {}
        for before, after, number in zip(counts, counts[1:], blocks[1:], strict=False):
            if before == after and not isinstance(before, RpcError):
                continue
            block = await self._chain.rpc("eth_getBlockByNumber", [hex(number), True])
            for sent in block["transactions"] if isinstance(block, dict) else ():
                ours = str(sent.get("from")).lower() == self.provider.lower()
                here = str(sent.get("to")).lower() == self.contract.lower()
                if ours and here and self._wire.decoded(str(sent.get("input"))):
                    calls[from_quantity(sent.get("nonce"))] = str(sent.get("hash"))
        return calls

    async def _past(self, receipt: Receipt, sent: dict[str, Any]) -> list[PastSettlement]:
        """The settlements with this provider that a transaction got accepted.

        Settlements that came through a contract are among them, without what was signed.
        """
        events = self._wire.events(receipt)
        results = [event for event in events if event.name in RESULT_EVENTS.values()]
        direct = sent["to"] is not None and to_checksum_address(sent["to"]) == self.contract
        settlements: Sequence[UserSettlement | None]
        if direct and to_checksum_address(sent["from"]) == self.provider:
            signed = self._wire.decoded(sent["input"])
            if [row.user for row in signed] != [event.args["user"] for event in results]:
                raise Disagreement(f"The events of {receipt.transaction_hash} do not match its settlements.")
            outcomes = [outcome_of(event, row.total_fee) for event, row in zip(results, signed, strict=True)]
            settlements = signed
        elif not direct and await self._settled_through_a_contract(events, sent):
            outcomes = [Outcome(known_status(event.args["status"]), event.args.get("paid", 0)) for event in results]
            settlements = [None] * len(results)
        else:
            return []
        return [
            PastSettlement(
                event.args["user"],
                settlement,
                Acceptance(outcome, receipt.block_number, receipt.block_hash, receipt.transaction_hash),
            )
            for event, settlement, outcome in zip(results, settlements, outcomes, strict=True)
            if Status(outcome.status).paid
        ]

    async def _settled_through_a_contract(self, events: Sequence[DecodedEvent], sent: dict[str, Any]) -> bool:
        """Whether a transaction that does not call the service itself made this provider's wallet settle.

        The result of a batch names the provider. Those of single settlements do not: anybody can have one transaction
        settle for another provider and change a balance with this one. They count only where the wallet has code, or
        was called itself, because a wallet without code does not settle through a contract.
        """
        ours = [event for event in events if event.args.get("provider") == self.provider]
        if any(event.name == "BatchSettled" for event in ours):
            return True
        called = sent["to"] is not None and to_checksum_address(sent["to"]) == self.provider
        return bool(ours) and (called or bool(await self._chain.code(self.provider)))

    def _read(self, receipt: Receipt, signed: SignedSettlements) -> Landed:
        outcomes = self._wire.results(receipt, signed) if receipt.succeeded else ()
        return Landed(receipt.succeeded, _mined(receipt), outcomes, receipt.transaction_hash)

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


def _topic(address: str) -> str:
    """An address as an event's indexed argument."""
    return "0x" + bytes(12).hex() + address[2:].lower()


def _mined(receipt: Receipt) -> Mined:
    return Mined(receipt.block_number, receipt.block_hash, receipt.gas_used, receipt.cost)


def _written(made: SignedTransaction) -> Transaction:
    return Transaction(
        made.hash, made.raw, made.nonce, made.gas, made.max_fee_per_gas, made.max_priority_fee_per_gas, made.legacy
    )
