# SPDX-License-Identifier: Apache-2.0
"""What a provider does: its service, its settlements, its deliverables, its earnings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from serving_network.addresses import to_checksum_address
from serving_network.chain.blocking import blocking
from serving_network.clients.actor import Actor, AsyncActor
from serving_network.clients.read.earnings import Earning, earnings_of
from serving_network.clients.settlements import ROWS_AT_MOST, Outcome, SettlementWire, SignedSettlements
from serving_network.contracts.errors import InsufficientStake, ServiceNotExist
from serving_network.contracts.models import FINE_TUNING, INFERENCE, FineTuningOffer, Offer, Status
from serving_network.errors import InvalidInput
from serving_network.messages.session_tokens import SessionToken, check_token, read_token
from serving_network.money import Wei, describe, whole_wei

if TYPE_CHECKING:
    from collections.abc import Sequence

    from serving_network.chain.receipts import Receipt
    from serving_network.clients.read.network import Service
    from serving_network.contracts.models import Account
    from serving_network.messages.typed_data import UserSettlement, VerifierMessage


@dataclass(frozen=True)
class SignedSettlement:
    """One user's settlement with the TEE signer's signature over it alone."""

    settlement: UserSettlement
    signature: bytes


@dataclass(frozen=True)
class SettlementResult:
    """What became of one settlement. `fee`, `paid` and `unsettled` are in wei."""

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
        stake = least if stake is None else whole_wei(stake)
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
        raise InvalidInput("This offer is of another kind of service.", next_step="serving registry list")

    async def update(self, offer: Offer | FineTuningOffer, service: str | None = None) -> Receipt:
        """Change the registered service. `update_costs` reports beforehand whether the owner must confirm again."""
        found = await self._service_for(offer, service)
        lost = await self.update_costs(offer, service)
        effect = f"updates the service in {found.name}"
        if lost:
            effect += (
                "; the owner must confirm its TEE signer again before anything can be settled, because these change:"
                f" {', '.join(lost)}"
            )
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

    async def preview(
        self, settlements: Sequence[SignedSettlement], service: str = INFERENCE
    ) -> list[SettlementResult]:
        """What settling these would do now, entry by entry; a user may be among them more than once.

        Raises TransferFailed if the provider's wallet would refuse the coins.
        """
        return await self._preview(await self.service(service), _as_entries(settlements))

    async def preview_batch(
        self, rows: Sequence[UserSettlement], signature: bytes, service: str = INFERENCE
    ) -> list[SettlementResult]:
        """What settling these rows would do now; a user may be among them more than once.

        Raises TransferFailed if the provider's wallet would refuse the coins.
        """
        return await self._preview(await self.service(service), SignedSettlements("batch", tuple(rows), (signature,)))

    async def settle(self, settlements: Sequence[SignedSettlement], service: str = INFERENCE) -> list[SettlementResult]:
        """Settle, 50 in a transaction, and read from the receipts what became of each. Raises TransferFailed."""
        found = await self.service(service)
        most = ROWS_AT_MOST["entries"]
        results: list[SettlementResult] = []
        for start in range(0, len(settlements), most):
            results += await self._settle(found, _as_entries(settlements[start : start + most]))
        return results

    async def settle_batch(
        self, rows: Sequence[UserSettlement], signature: bytes, service: str = INFERENCE
    ) -> list[SettlementResult]:
        """Settle up to 200 rows under one signature."""
        return await self._settle(await self.service(service), SignedSettlements("batch", tuple(rows), (signature,)))

    async def _preview(self, service: Service, signed: SignedSettlements) -> list[SettlementResult]:
        block = await self.chain.block_number()
        users = list(dict.fromkeys(row.user for row in signed.settlements))
        accounts = await self.accounts_with(self.address, users, service.name, block=block)
        balances = {user: account.balance for user, account in accounts.items()}
        outcomes = await SettlementWire(service.contract, self.address).preview(signed, balances, block)
        return _results(signed, outcomes)

    async def _settle(self, service: Service, signed: SignedSettlements) -> list[SettlementResult]:
        wire = SettlementWire(service.contract, self.address)
        receipt = await self.submit(wire.call(signed))
        return [] if receipt.rehearsed else _results(signed, wire.results(receipt, signed))

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
        """Settle one deliverable: without a secret, for the penalty.

        Raises the error of the first check that fails (see `serving doctor`).
        """
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
        if not message.encrypted_secret:
            percent = (await self.settings(service))["penaltyPercentage"]
            penalty = message.task_fee * percent // 100
            effect += f", for the penalty of {describe(penalty)}, as it is not acknowledged"
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
            raise InvalidInput(f"{found.name} takes no {kind} offer.", next_step="serving registry list")
        return found


def _as_entries(settlements: Sequence[SignedSettlement]) -> SignedSettlements:
    return SignedSettlements(
        "entries",
        tuple(one.settlement for one in settlements),
        tuple(one.signature for one in settlements),
    )


def _results(signed: SignedSettlements, outcomes: Sequence[Outcome]) -> list[SettlementResult]:
    return [
        SettlementResult(row.user, Status(outcome.status), row.total_fee, outcome.paid)
        for row, outcome in zip(signed.settlements, outcomes, strict=True)
    ]


def _arguments(offer: Offer | FineTuningOffer) -> tuple[Any, ...]:
    return (offer.as_params(),) if isinstance(offer, Offer) else offer.as_arguments()


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
