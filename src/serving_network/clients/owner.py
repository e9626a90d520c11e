# SPDX-License-Identifier: Apache-2.0
"""The owner's client: confirm signers, change settings, register versions and transfer ownership."""

from __future__ import annotations

from typing import TYPE_CHECKING

from serving_network.addresses import to_checksum_address
from serving_network.chain.blocking import blocking
from serving_network.clients.actor import Actor, AsyncActor
from serving_network.contracts.errors import ServiceNotExist
from serving_network.contracts.models import FINE_TUNING, INFERENCE, FineTuningOffer
from serving_network.counting import span
from serving_network.errors import InvalidInput

if TYPE_CHECKING:
    from serving_network.chain.receipts import Receipt
    from serving_network.contracts.models import ProviderService


class SignerOfAnother(InvalidInput):
    """Two providers have registered the same TEE signer. `other` is the other provider."""

    def __init__(self, signer: str, other: str) -> None:
        self.other = other
        super().__init__(
            f"Another provider, {other}, has registered the TEE signer {signer}, too.",
            cause="A fine-tuning settlement names no provider, so both providers could be paid for the same signature.",
            next_step="Ask both providers which of them runs this TEE. To confirm it anyway, pass --shared.",
        )


class AsyncOwner(AsyncActor):
    """The business owner of the ledger and the services."""

    async def waiting(self, service: str = INFERENCE) -> list[ProviderService]:
        """The providers whose TEE signer is not confirmed, with what they registered."""
        return [one for one in await self.offers(service) if not one.confirmed]

    async def confirm(
        self, provider: str, service: str = INFERENCE, *, signer: str | None = None, shared: bool = False
    ) -> Receipt:
        """Confirm the provider's TEE signer: the one given, or the one registered now.

        The contract checks the signer, so a provider cannot replace it in the meantime. For fine-tuning, a signer that
        another provider has registered is refused unless `shared`, because fine-tuning settlements name no provider.
        Raises SignerOfAnother, UnexpectedTEESigner, ServiceNotExist, CallerNotOwner.
        """
        found = await self.service(service)
        registered = await self.offer(provider, service)
        if registered is None:
            raise ServiceNotExist(provider=to_checksum_address(provider))
        expected = to_checksum_address(signer or registered.offer.tee_signer)
        if isinstance(registered.offer, FineTuningOffer) and not shared:
            for other in await self.offers(service):
                if other.offer.tee_signer == expected and other.provider != registered.provider:
                    raise SignerOfAnother(expected, other.provider)
        effect = f"confirms {expected} as the TEE signer of {provider} in {found.name}: it can then spend users' coins"
        return await self.submit(
            found.contract.call("acknowledgeTEESignerByOwner", to_checksum_address(provider), expected, effect=effect)
        )

    async def revoke(self, provider: str, service: str = INFERENCE) -> Receipt:
        """Revoke the confirmation: what this provider's TEE signs is no longer paid."""
        found = await self.service(service)
        effect = f"revokes the confirmation of {provider} in {found.name}: its settlements are no longer paid"
        return await self.submit(
            found.contract.call("revokeTEESignerAcknowledgement", to_checksum_address(provider), effect=effect)
        )

    async def set_lock_time(self, seconds: int, service: str = INFERENCE) -> Receipt:
        """Change how long refunds stay locked, pending ones included. Raises LockTimeOutOfRange."""
        found = await self.service(service)
        old = span((await self.settings(service))["lockTime"])
        effect = f"changes the lock time of {found.name} from {old} to {span(seconds)}, also for pending refunds"
        return await self.submit(found.contract.call("updateLockTime", seconds, effect=effect))

    async def set_penalty(self, percent: int, service: str = FINE_TUNING) -> Receipt:
        """Change the percentage of the fee that is due for an unacknowledged deliverable.

        Raises PenaltyPercentageTooHigh, and InvalidInput for a service of inference, which has no penalty.
        """
        found = await self.service(service)
        old = (await self.settings(service)).get("penaltyPercentage")
        if old is None:
            raise InvalidInput(
                f"{found.name} has no penalty: only fine-tuning has one.",
                next_step=f"serving setting penalty {percent} --service {FINE_TUNING}",
            )
        effect = f"changes the penalty of {found.name} from {old} % to {percent} %"
        return await self.submit(found.contract.call("updatePenaltyPercentage", percent, effect=effect))

    async def register_version(self, service_type: str, version: str, address: str, description: str) -> Receipt:
        """Register a service contract with the ledger, which then sends users' coins to it."""
        effect = f"registers {address} as {service_type}-{version}; the ledger sends users' coins there"
        return await self.submit(
            self.ledger_contract.call(
                "registerService", service_type, version, to_checksum_address(address), description, effect=effect
            )
        )

    async def recommend(self, service_type: str, version: str) -> Receipt:
        """Make this the recommended version of its type. Raises ServiceNotFound."""
        effect = f"recommends {service_type}-{version} to clients"
        return await self.submit(
            self.ledger_contract.call("setRecommendedService", service_type, version, effect=effect)
        )

    async def offer_ownership(self, contract: str, new_owner: str) -> Receipt:
        """Offer the business ownership of "ledger" or a service; it moves when the new owner accepts."""
        found = await self.contract(contract)
        effect = f"offers the ownership of {contract} to {new_owner}; nothing changes until it is accepted"
        return await self.submit(found.call("offerOwnership", to_checksum_address(new_owner), effect=effect))

    async def accept_ownership(self, contract: str) -> Receipt:
        """Accept the ownership that was offered. Raises CallerNotOfferedOwner."""
        found = await self.contract(contract)
        return await self.submit(found.call("acceptOwnership", effect=f"makes {self.address} the owner of {contract}"))

    async def transfer_ownership(self, contract: str, new_owner: str) -> Receipt:
        """Transfer the ownership in one step. A wrong address loses it permanently: `offer_ownership` is safer."""
        found = await self.contract(contract)
        effect = f"transfers the ownership of {contract} to {new_owner}, immediately and permanently"
        return await self.submit(found.call("transferOwnership", to_checksum_address(new_owner), effect=effect))

    async def renounce_ownership(self, contract: str) -> Receipt:
        """Leave the contract without an owner, permanently: no signer can be confirmed or revoked afterwards."""
        found = await self.contract(contract)
        effect = f"leaves {contract} without an owner permanently"
        return await self.submit(found.call("renounceOwnership", effect=effect))


class Owner(Actor):
    """`AsyncOwner` for code without an event loop."""

    role = AsyncOwner

    waiting = blocking(AsyncOwner.waiting)
    confirm = blocking(AsyncOwner.confirm)
    revoke = blocking(AsyncOwner.revoke)
    set_lock_time = blocking(AsyncOwner.set_lock_time)
    set_penalty = blocking(AsyncOwner.set_penalty)
    register_version = blocking(AsyncOwner.register_version)
    recommend = blocking(AsyncOwner.recommend)
    offer_ownership = blocking(AsyncOwner.offer_ownership)
    accept_ownership = blocking(AsyncOwner.accept_ownership)
    transfer_ownership = blocking(AsyncOwner.transfer_ownership)
    renounce_ownership = blocking(AsyncOwner.renounce_ownership)
