# SPDX-License-Identifier: Apache-2.0
"""What the contracts return, as typed values. Amounts are in wei, times in seconds since 1970."""

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


def artifact_of(kind: str) -> str:
    """The name of the contract of a kind of service. One of unknown kind is read as inference."""
    return "FineTuningServing" if kind == FINE_TUNING else "InferenceServing"


@dataclass(frozen=True)
class Ledger:
    """A user's ledger. `available` can be moved; `total` includes the accounts with providers."""

    user: ChecksumAddress
    available: int
    total: int
    info: str

    @property
    def with_providers(self) -> int:
        """The sum of the balances with providers."""
        return self.total - self.available

    @classmethod
    def read(cls, struct: Mapping[str, Any]) -> Ledger:
        """Convert the contract's struct."""
        return cls(struct["user"], struct["availableBalance"], struct["totalBalance"], struct["additionalInfo"])


@dataclass(frozen=True)
class Refund:
    """A requested refund. `unlocks_at` follows from the current lock time."""

    amount: int
    created_at: int
    unlocks_at: int


@dataclass(frozen=True)
class Account:
    """A user's account with one provider in one service.

    Only inference accounts have `generation` and `revoked_bitmap`; only fine-tuning accounts have `deliverables`, the
    number of deliverables.
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
        """The balance without pending refunds."""
        return self.balance - self.pending_refund

    @property
    def exists(self) -> bool:
        """False for the empty entry that a batch answer has for a user without an account."""
        return self.user != ZERO_ADDRESS

    @classmethod
    def read(cls, service: str, lock_time: int, struct: Mapping[str, Any]) -> Account:
        """Convert the contract's struct. The short form in fine-tuning listings has no refunds."""
        active = list(struct.get("refunds", []))[: struct["validRefundsLength"]]
        return cls(
            service=service,
            user=struct["user"],
            provider=struct["provider"],
            nonce=struct["nonce"],
            balance=struct["balance"],
            pending_refund=struct["pendingRefund"],
            refunds=tuple(Refund(one["amount"], one["createdAt"], one["createdAt"] + lock_time) for one in active),
            info=struct["additionalInfo"],
            acknowledged=struct["acknowledged"],
            generation=struct.get("generation", 0),
            revoked_bitmap=struct.get("revokedBitmap", 0),
            deliverables=struct.get("deliverablesCount", 0),
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
        """The names of the changed fields that revoke the owner's confirmation."""
        names = ("service_type", "model", "verifiability", "tee_signer", "additional_info")
        return [name for name in names if getattr(self, name) != getattr(new, name)]


@dataclass(frozen=True)
class Quota:
    """The hardware of a fine-tuning service. Memory and storage are in the provider's own units."""

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
        """The names of the changed fields that revoke the owner's confirmation."""
        return [] if self.tee_signer == new.tee_signer else ["tee_signer"]


@dataclass(frozen=True)
class ProviderService:
    """A registered service. `confirmed` says whether the owner confirmed its TEE signer."""

    service: str
    provider: ChecksumAddress
    offer: Offer | FineTuningOffer
    confirmed: bool
    updated_at: int | None

    @classmethod
    def read(cls, service: str, struct: Mapping[str, Any]) -> ProviderService:
        """Convert the struct of either contract."""
        offer: Offer | FineTuningOffer
        if "quota" in struct:
            quota = struct["quota"]
            offer = FineTuningOffer(
                url=struct["url"],
                quota=Quota(
                    quota["cpuCount"], quota["nodeMemory"], quota["gpuCount"], quota["nodeStorage"], quota["gpuType"]
                ),
                price_per_token=struct["pricePerToken"],
                occupied=struct["occupied"],
                models=tuple(struct["models"]),
                tee_signer=struct["teeSignerAddress"],
            )
        else:
            offer = Offer(
                service_type=struct["serviceType"],
                url=struct["url"],
                model=struct["model"],
                verifiability=struct["verifiability"],
                input_price=struct["inputPrice"],
                output_price=struct["outputPrice"],
                additional_info=struct["additionalInfo"],
                tee_signer=struct["teeSignerAddress"],
            )
        return cls(service, struct["provider"], offer, struct["teeSignerAcknowledged"], struct.get("updatedAt"))


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
    def read(cls, struct: Mapping[str, Any]) -> ServiceVersion:
        """Convert the contract's struct."""
        return cls(
            address=struct["serviceAddress"],
            type=struct["serviceType"],
            version=struct["version"],
            name=struct["fullName"],
            description=struct["description"],
            recommended=struct["isRecommended"],
            registered_at=struct["registeredAt"],
        )


@dataclass(frozen=True)
class Deliverable:
    """A fine-tuned model that is delivered to a user. `added_at` is when the provider added it."""

    id: str
    model_root_hash: bytes
    encrypted_secret: bytes
    acknowledged: bool
    settled: bool
    added_at: int

    @classmethod
    def read(cls, struct: Mapping[str, Any]) -> Deliverable:
        """Convert the contract's struct."""
        return cls(
            struct["id"],
            struct["modelRootHash"],
            struct["encryptedSecret"],
            struct["acknowledged"],
            struct["settled"],
            struct["timestamp"],
        )


@dataclass(frozen=True)
class Balances:
    """All funds of a user: in the wallet, in the ledger and with each provider. `ledger` is None if there is none."""

    user: ChecksumAddress
    wallet: int
    ledger: Ledger | None
    accounts: tuple[Account, ...]

    @property
    def total(self) -> int:
        """The sum of all funds."""
        return self.wallet + (self.ledger.available if self.ledger else 0) + sum(one.balance for one in self.accounts)


class Status(IntEnum):
    """The outcome of one settlement."""

    SUCCESS = 0
    PARTIAL = 1
    PROVIDER_MISMATCH = 2
    NO_TEE_SIGNER = 3
    INVALID_NONCE = 4
    INVALID_SIGNATURE = 5

    @property
    def paid(self) -> bool:
        """Whether the settlement was accepted: its nonce was stored, and the available balance was paid."""
        return self <= Status.PARTIAL
