# SPDX-License-Identifier: Apache-2.0
"""What the contracts tell, as typed values. Amounts are in wei, times in seconds since 1970."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from eth_typing import ChecksumAddress

ZERO_ADDRESS = "0x0000000000000000000000000000000000000000"
INFERENCE = "inference"
FINE_TUNING = "fine-tuning"


@dataclass(frozen=True)
class Ledger:
    """A user's ledger: `available` can be moved, `total` counts the provider accounts in."""

    user: ChecksumAddress
    available: int
    total: int
    info: str

    @property
    def with_providers(self) -> int:
        """What lies in accounts with providers."""
        return self.total - self.available

    @classmethod
    def read(cls, told: Mapping[str, Any]) -> Ledger:
        """From the contract's struct."""
        return cls(told["user"], told["availableBalance"], told["totalBalance"], told["additionalInfo"])


@dataclass(frozen=True)
class Refund:
    """Coins asked back: `unlocks_at` by the lock time of now."""

    amount: int
    created_at: int
    unlocks_at: int


@dataclass(frozen=True)
class Account:
    """What a user has with one provider in one service.

    `generation` and `revoked_bitmap` are of inference accounts, `deliverables` a count of fine-tuning ones.
    """

    service: str
    user: ChecksumAddress
    provider: ChecksumAddress
    nonce: int
    balance: int
    pending_refund: int
    refunds: tuple[Refund, ...]
    info: str
    acknowledged: bool
    generation: int = 0
    revoked_bitmap: int = 0
    deliverables: int = 0

    @property
    def spendable(self) -> int:
        """The balance that is not asked back."""
        return self.balance - self.pending_refund

    @property
    def exists(self) -> bool:
        """False for the empty entry that stands for a user without an account in a batch answer."""
        return self.user != ZERO_ADDRESS

    @classmethod
    def read(cls, service: str, lock_time: int, told: Mapping[str, Any]) -> Account:
        """From the contract's struct; the short form of fine-tuning listings has no refunds in it."""
        active = list(told.get("refunds", []))[: told["validRefundsLength"]]
        return cls(
            service=service,
            user=told["user"],
            provider=told["provider"],
            nonce=told["nonce"],
            balance=told["balance"],
            pending_refund=told["pendingRefund"],
            refunds=tuple(Refund(one["amount"], one["createdAt"], one["createdAt"] + lock_time) for one in active),
            info=told["additionalInfo"],
            acknowledged=told["acknowledged"],
            generation=told.get("generation", 0),
            revoked_bitmap=told.get("revokedBitmap", 0),
            deliverables=told.get("deliverablesCount", 0),
        )


@dataclass(frozen=True)
class Offer:
    """An inference service as its provider describes it. Prices are wei per token."""

    service_type: str
    url: str
    model: str
    verifiability: str
    input_price: int
    output_price: int
    additional_info: str
    tee_signer: ChecksumAddress

    def as_params(self) -> dict[str, Any]:
        """The contract's ServiceParams."""
        return {
            "serviceType": self.service_type,
            "url": self.url,
            "model": self.model,
            "verifiability": self.verifiability,
            "inputPrice": self.input_price,
            "outputPrice": self.output_price,
            "additionalInfo": self.additional_info,
            "teeSignerAddress": self.tee_signer,
        }

    def critical_changes(self, new: Offer) -> list[str]:
        """The changes that take the owner's confirmation back."""
        names = ("service_type", "model", "verifiability", "tee_signer", "additional_info")
        return [name for name in names if getattr(self, name) != getattr(new, name)]


@dataclass(frozen=True)
class Quota:
    """The machine behind a fine-tuning service; memory and storage in the units that the provider uses."""

    cpu_count: int
    node_memory: int
    gpu_count: int
    node_storage: int
    gpu_type: str


@dataclass(frozen=True)
class FineTuningOffer:
    """A fine-tuning service as its provider describes it. The price is wei per token."""

    url: str
    quota: Quota
    price_per_token: int
    occupied: bool
    models: tuple[str, ...]
    tee_signer: ChecksumAddress

    def as_arguments(self) -> tuple[Any, ...]:
        """The arguments of the contract's addOrUpdateService, in its order."""
        quota = self.quota
        machine = (quota.cpu_count, quota.node_memory, quota.gpu_count, quota.node_storage, quota.gpu_type)
        return self.url, machine, self.price_per_token, self.occupied, list(self.models), self.tee_signer

    def critical_changes(self, new: FineTuningOffer) -> list[str]:
        """The changes that take the owner's confirmation back."""
        return [] if self.tee_signer == new.tee_signer else ["tee_signer"]


@dataclass(frozen=True)
class ProviderService:
    """A registered service. `confirmed` is the owner's confirmation of its TEE signer."""

    service: str
    provider: ChecksumAddress
    offer: Offer | FineTuningOffer
    confirmed: bool
    updated_at: int | None

    @classmethod
    def read(cls, service: str, told: Mapping[str, Any]) -> ProviderService:
        """From the struct of either contract."""
        offer: Offer | FineTuningOffer
        if "quota" in told:
            quota = told["quota"]
            offer = FineTuningOffer(
                url=told["url"],
                quota=Quota(
                    quota["cpuCount"], quota["nodeMemory"], quota["gpuCount"], quota["nodeStorage"], quota["gpuType"]
                ),
                price_per_token=told["pricePerToken"],
                occupied=told["occupied"],
                models=tuple(told["models"]),
                tee_signer=told["teeSignerAddress"],
            )
        else:
            offer = Offer(
                service_type=told["serviceType"],
                url=told["url"],
                model=told["model"],
                verifiability=told["verifiability"],
                input_price=told["inputPrice"],
                output_price=told["outputPrice"],
                additional_info=told["additionalInfo"],
                tee_signer=told["teeSignerAddress"],
            )
        return cls(service, told["provider"], offer, told["teeSignerAcknowledged"], told.get("updatedAt"))


@dataclass(frozen=True)
class ServiceVersion:
    """A service contract that the ledger knows: one version of one type."""

    address: ChecksumAddress
    type: str
    version: str
    name: str
    description: str
    recommended: bool
    registered_at: int

    @classmethod
    def read(cls, told: Mapping[str, Any]) -> ServiceVersion:
        """From the contract's struct."""
        return cls(
            address=told["serviceAddress"],
            type=told["serviceType"],
            version=told["version"],
            name=told["fullName"],
            description=told["description"],
            recommended=told["isRecommended"],
            registered_at=told["registeredAt"],
        )


@dataclass(frozen=True)
class Deliverable:
    """A fine-tuned model as it is handed over. `added_at` is when the provider added it."""

    id: str
    model_root_hash: bytes
    encrypted_secret: bytes
    acknowledged: bool
    settled: bool
    added_at: int

    @classmethod
    def read(cls, told: Mapping[str, Any]) -> Deliverable:
        """From the contract's struct."""
        return cls(
            told["id"],
            told["modelRootHash"],
            told["encryptedSecret"],
            told["acknowledged"],
            told["settled"],
            told["timestamp"],
        )


@dataclass(frozen=True)
class Balances:
    """All that a user has: in the wallet, in the ledger and with each provider. `ledger` is None where none is open."""

    user: ChecksumAddress
    wallet: int
    ledger: Ledger | None
    accounts: tuple[Account, ...]

    @property
    def total(self) -> int:
        """Everything together."""
        return self.wallet + (self.ledger.available if self.ledger else 0) + sum(one.balance for one in self.accounts)


class Status(IntEnum):
    """What became of one settlement."""

    SUCCESS = 0
    PARTIAL = 1
    PROVIDER_MISMATCH = 2
    NO_TEE_SIGNER = 3
    INVALID_NONCE = 4
    INVALID_SIGNATURE = 5

    @property
    def paid(self) -> bool:
        """Whether it stored its nonce, and paid what there was."""
        return self <= Status.PARTIAL
