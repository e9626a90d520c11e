"""What a provider does: its service, its settlements, its deliverables, its earnings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from eth_utils import to_checksum_address

from serving_network.chain.blocking import blocking
from serving_network.clients.actor import Actor, AsyncActor
from serving_network.clients.read.earnings import Earning, earnings_of
from serving_network.contracts.errors import InsufficientStake, ServiceNotExist
from serving_network.contracts.models import FINE_TUNING, INFERENCE, FineTuningOffer, Offer, Status
from serving_network.errors import InvalidInput, NodeFailure
from serving_network.messages.session_tokens import SessionToken, check_token, read_token
from serving_network.money import Wei, describe

if TYPE_CHECKING:
    from collections.abc import Sequence

    from serving_network.chain.receipts import Receipt
    from serving_network.clients.read.network import Service
    from serving_network.contracts.models import Account
    from serving_network.messages.typed_data import UserSettlement, VerifierMessage

SETTLEMENTS_PER_CALL = 50
STATUSES_PER_WORD = 64


@dataclass(frozen=True)
class SignedSettlement:
    """One user's settlement with the TEE signer's signature over it alone."""

    settlement: UserSettlement
    signature: bytes

    def as_entry(self, provider: str) -> dict[str, Any]:
        """The contract's TEESettlementData."""
        return {
            "user": self.settlement.user,
            "provider": provider,
            "totalFee": self.settlement.total_fee,
            "requestsHash": self.settlement.requests_hash,
            "nonce": self.settlement.nonce,
            "signature": self.signature,
        }


@dataclass(frozen=True)
class Outcome:
    """What became of one settlement: `paid` and `unsettled` in wei."""

    user: str
    status: Status
    fee: int
    paid: int

    @property
    def unsettled(self) -> int:
        """The part of the fee that was not paid."""
        return self.fee - self.paid


class AsyncProvider(AsyncActor):
    """A provider of the network. Amounts are in wei."""

    async def register(
        self, offer: Offer | FineTuningOffer, stake: int | None = None, service: str | None = None
    ) -> Receipt:
        """Register a service with a stake, by default the least that is taken.

        Raises InsufficientStake, TextTooLong, TooManyItems, AdditionalInfoTooLong, and InvalidInput when the
        service is registered already.
        """
        found = await self._service_for(offer, service)
        if await self.offer(self.address, found.name) is not None:
            raise InvalidInput(
                f"{self.address} has registered a service in {found.name} already.",
                next_step="serving service update --help",
            )
        least = await found.contract.read("MIN_PROVIDER_STAKE")
        stake = least if stake is None else stake
        if stake < least:
            raise InsufficientStake(provided=Wei(stake), required=Wei(least))
        effect = f"registers {self.address} in {found.name} with a stake of {describe(stake)}"
        return await self.submit(
            found.contract.call("addOrUpdateService", *_arguments(offer), value=stake, effect=effect)
        )

    async def update_costs(self, offer: Offer | FineTuningOffer, service: str | None = None) -> list[str]:
        """The fields whose change would take the owner's confirmation back; empty when it stays or is not there."""
        found = await self._service_for(offer, service)
        now = await self.offer(self.address, found.name)
        if now is None:
            raise ServiceNotExist(provider=self.address)
        if not now.confirmed:
            return []
        if isinstance(now.offer, Offer) and isinstance(offer, Offer):
            return now.offer.critical_changes(offer)
        if isinstance(now.offer, FineTuningOffer) and isinstance(offer, FineTuningOffer):
            return now.offer.critical_changes(offer)
        raise InvalidInput("This offer is of another kind of service.", next_step="serving version list")

    async def update(self, offer: Offer | FineTuningOffer, service: str | None = None) -> Receipt:
        """Change the registered service. `update_costs` tells beforehand whether the owner must confirm again."""
        found = await self._service_for(offer, service)
        lost = await self.update_costs(offer, service)
        effect = f"updates the service in {found.name}"
        if lost:
            effect += f"; the owner must confirm its TEE signer again, because these change: {', '.join(lost)}"
        return await self.submit(found.contract.call("addOrUpdateService", *_arguments(offer), effect=effect))

    async def open_accounts(self, service: str = INFERENCE) -> list[Account]:
        """The accounts that hold coins: what users could still owe. Read them before removing the service."""
        return [one for one in await self.accounts(provider=self.address, service=service) if one.balance]

    async def remove(self, service: str = INFERENCE) -> Receipt:
        """Take the service off the list and the stake back. What is unsettled then can no longer be settled."""
        found = await self.service(service)
        effect = f"removes the service from {found.name}, returning its stake; nothing can be settled afterwards"
        return await self.submit(found.contract.call("removeService", effect=effect))

    async def supports_batches(self, service: str = INFERENCE) -> bool:
        """Whether the service takes many settlements under one signature."""
        found = await self.service(service)
        return found.kind == INFERENCE and await found.contract.has("settleBatchWithTEE", [], b"", sender=self.address)

    async def preview(self, settlements: Sequence[SignedSettlement], service: str = INFERENCE) -> list[Outcome]:
        """What settling these would do now, entry by entry; a user may be among them more than once.

        Raises TransferFailed when the provider's wallet would refuse the coins.
        """
        found = await self.service(service)
        entries = [one.as_entry(self.address) for one in settlements]
        statuses = await found.contract.read("settleFeesWithTEE", entries, sender=self.address)
        _, _, _, unsettled = await found.contract.read("previewSettlementResults", entries, sender=self.address)
        left = iter(unsettled)  # one for each PARTIAL entry, in order
        outcomes = []
        for one, status in zip(settlements, map(Status, statuses), strict=True):
            fee = one.settlement.total_fee
            paid = fee - next(left) if status is Status.PARTIAL else fee if status.paid else 0
            outcomes.append(Outcome(one.settlement.user, status, fee, paid))
        return outcomes

    def encode_settlements(self, settlements: Sequence[SignedSettlement], service: Service) -> bytes:
        """Calldata of settleFeesWithTEE."""
        entries = [one.as_entry(self.address) for one in settlements]
        return service.contract.interface.encode("settleFeesWithTEE", entries)

    def encode_batch(self, rows: Sequence[UserSettlement], signature: bytes, service: Service) -> bytes:
        """Calldata of settleBatchWithTEE."""
        return service.contract.interface.encode("settleBatchWithTEE", _rows(rows), signature)

    async def preview_batch(
        self, rows: Sequence[UserSettlement], signature: bytes, service: str = INFERENCE
    ) -> list[Outcome]:
        """What settling these rows would do now; a user may be among them more than once.

        Raises TransferFailed when the provider's wallet would refuse the coins.
        """
        found = await self.service(service)
        block = await self.chain.block_number()
        words = await found.contract.read(
            "settleBatchWithTEE", _rows(rows), signature, sender=self.address, block=block
        )
        accounts = await self.accounts_with(self.address, [row.user for row in rows], service, block=block)
        left = {user: account.balance for user, account in accounts.items()}
        outcomes = []
        for place, row in enumerate(rows):
            status = Status(words[place // STATUSES_PER_WORD] >> 4 * (place % STATUSES_PER_WORD) & 15)
            paid = min(row.total_fee, left[row.user]) if status.paid else 0
            if paid:
                left[row.user] -= paid
            outcomes.append(Outcome(row.user, status, row.total_fee, paid))
        return outcomes

    async def settle(self, settlements: Sequence[SignedSettlement], service: str = INFERENCE) -> list[Outcome]:
        """Settle, 50 in a transaction, and read from the receipts what became of each. Raises TransferFailed."""
        found = await self.service(service)
        outcomes: list[Outcome] = []
        for start in range(0, len(settlements), SETTLEMENTS_PER_CALL):
            part = settlements[start : start + SETTLEMENTS_PER_CALL]
            effect = f"settles {len(part)} entries over {describe(sum(one.settlement.total_fee for one in part))}"
            entries = [one.as_entry(self.address) for one in part]
            receipt = await self.submit(found.contract.call("settleFeesWithTEE", entries, effect=effect))
            if not receipt.rehearsed:
                outcomes += settlement_outcomes(found, [one.settlement for one in part], receipt)
        return outcomes

    async def settle_batch(
        self, rows: Sequence[UserSettlement], signature: bytes, service: str = INFERENCE
    ) -> list[Outcome]:
        """Settle up to 200 rows that are signed as one."""
        found = await self.service(service)
        effect = f"settles {len(rows)} rows over {describe(sum(one.total_fee for one in rows))}"
        receipt = await self.submit(found.contract.call("settleBatchWithTEE", _rows(rows), signature, effect=effect))
        return [] if receipt.rehearsed else settlement_outcomes(found, rows, receipt)

    async def add_deliverable(
        self,
        user: str,
        id: str,  # noqa: A002
        model_root_hash: bytes,
        service: str = FINE_TUNING,
    ) -> Receipt:
        """Hand over a fine-tuned model.

        Raises PreviousDeliverableNotAcknowledged, DeliverableAlreadyExists, CannotEvictUnsettledDeliverable.
        """
        found = await self.service(service)
        effect = f"adds the deliverable {id!r} for {user}"
        return await self.submit(
            found.contract.call("addDeliverable", to_checksum_address(user), id, model_root_hash, effect=effect)
        )

    async def abandon_deliverable(self, user: str, id: str, service: str = FINE_TUNING) -> Receipt:  # noqa: A002
        """Give up a deliverable: it is never paid. Raises CannotAbandonSettledDeliverable."""
        found = await self.service(service)
        effect = f"abandons the deliverable {id!r} for {user}: it will never be paid"
        return await self.submit(
            found.contract.call("abandonDeliverable", to_checksum_address(user), id, effect=effect)
        )

    async def settle_deliverable(
        self, message: VerifierMessage, signature: bytes, service: str = FINE_TUNING
    ) -> Receipt:
        """Settle one deliverable. Raises the error of the first check that fails (see `serving doctor`)."""
        found = await self.service(service)
        verifier_input = {
            "id": message.id,
            "encryptedSecret": message.encrypted_secret,
            "modelRootHash": message.model_root_hash,
            "nonce": message.nonce,
            "signature": signature,
            "taskFee": message.task_fee,
            "user": message.user,
        }
        effect = f"settles the deliverable {message.id!r} of {message.user} over {describe(message.task_fee)}"
        return await self.submit(found.contract.call("settleFees", verifier_input, effect=effect))

    async def check_header(self, header: str, now_ms: int, service: str = INFERENCE) -> SessionToken:
        """The session token in an Authorization header, checked against the chain. Raises InvalidToken."""
        token, signer = read_token(header)
        account = await self.account(token.address, self.address, service)
        check_token(token, signer, self.address, account, now_ms)
        return token

    async def earnings(
        self, service: str = INFERENCE, *, from_block: int = 0, to_block: int | None = None
    ) -> list[Earning]:
        """Every payment of this service to this provider in these blocks."""
        return await earnings_of(self, self.address, service, from_block=from_block, to_block=to_block)

    async def _service_for(self, offer: Offer | FineTuningOffer, service: str | None) -> Service:
        kind = FINE_TUNING if isinstance(offer, FineTuningOffer) else INFERENCE
        found = await self.service(service or kind)
        if found.kind != kind:
            raise InvalidInput(f"{found.name} takes no {kind} offer.", next_step="serving version list")
        return found


def settlement_outcomes(service: Service, rows: Sequence[UserSettlement], receipt: Receipt) -> list[Outcome]:
    """What became of each row, from the events of the receipt, which come in the order of the rows.

    Raises NodeFailure when the node left events out.
    """
    results = []
    for entry in receipt.logs:
        if to_checksum_address(entry["address"]) != service.address:
            continue
        event = service.contract.interface.decode_log(entry)
        if event is not None and event.name in ("TEESettlementResult", "BatchRowSettled"):
            results.append(event)
    if len(results) != len(rows):
        raise NodeFailure(
            f"The receipt of {receipt.transaction_hash} has {len(results)} results for {len(rows)} settlements.",
            cause="The node left events out.",
            next_step=f"Ask another node: serving transaction show {receipt.transaction_hash}",
        )
    outcomes = []
    for row, event in zip(rows, results, strict=True):
        status = event.args["status"]
        if event.args["user"] != row.user or status not in list(Status):
            raise NodeFailure(
                f"The receipt of {receipt.transaction_hash} tells of other settlements than were sent.",
                next_step=f"Ask another node: serving transaction show {receipt.transaction_hash}",
            )
        paid = event.args["paid"] if "paid" in event.args else row.total_fee - event.args["unsettledAmount"]
        outcomes.append(Outcome(row.user, Status(status), row.total_fee, paid))
    return outcomes


def _arguments(offer: Offer | FineTuningOffer) -> tuple[Any, ...]:
    return (offer.as_params(),) if isinstance(offer, Offer) else offer.as_arguments()


def _rows(rows: Sequence[UserSettlement]) -> list[tuple[int, int, bytes]]:
    """Rows as the contract takes them: the user in the upper 160 bits of the first word, the fee in the lower 96."""
    for row in rows:
        if row.total_fee >> 96:
            raise InvalidInput(
                f"A fee of {describe(row.total_fee)} is more than a row of a batch can hold.",
                next_step="Settle it on its own: serving settlement send",
            )
    return [(int(row.user, 16) << 96 | row.total_fee, row.nonce, row.requests_hash) for row in rows]


class Provider(Actor):
    """`AsyncProvider` for code without an event loop."""

    role = AsyncProvider

    register = blocking(AsyncProvider.register)
    update_costs = blocking(AsyncProvider.update_costs)
    update = blocking(AsyncProvider.update)
    open_accounts = blocking(AsyncProvider.open_accounts)
    remove = blocking(AsyncProvider.remove)
    supports_batches = blocking(AsyncProvider.supports_batches)
    preview = blocking(AsyncProvider.preview)
    preview_batch = blocking(AsyncProvider.preview_batch)
    settle = blocking(AsyncProvider.settle)
    settle_batch = blocking(AsyncProvider.settle_batch)
    add_deliverable = blocking(AsyncProvider.add_deliverable)
    abandon_deliverable = blocking(AsyncProvider.abandon_deliverable)
    settle_deliverable = blocking(AsyncProvider.settle_deliverable)
    check_header = blocking(AsyncProvider.check_header)
    earnings = blocking(AsyncProvider.earnings)
