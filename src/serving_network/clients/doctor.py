# SPDX-License-Identifier: Apache-2.0
"""Check what a payment from a user to a provider needs, in the order of the contracts' own checks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from serving_network.chains import how_to_get_coins
from serving_network.contracts.models import FINE_TUNING, INFERENCE, ZERO_ADDRESS
from serving_network.messages.typed_data import (
    FINE_TUNING_NAME,
    INFERENCE_NAME,
    Domain,
    TEESettlement,
    VerifierMessage,
)
from serving_network.money import describe
from serving_network.signing import signed_by

if TYPE_CHECKING:
    from collections.abc import Iterable

    from serving_network.clients.provider import SignedSettlement
    from serving_network.clients.read.network import AsyncNetwork, Service
    from serving_network.contracts.models import Account, Deliverable, ProviderService


@dataclass(frozen=True)
class Check:
    """One check. `passed` is None if the check does not apply yet; `next_step` fixes a failed check."""

    name: str
    passed: bool | None
    detail: str
    next_step: str | None = None


def first_failure(checks: Iterable[Check]) -> Check | None:
    """The first failed check, which decides what to do next."""
    return next((check for check in checks if check.passed is False), None)


async def examine_user(network: AsyncNetwork, user: str) -> list[Check]:
    """Check whether this user can fund a provider."""
    balances = await network.balances(user)
    minimum, _ = await network.minimums()
    ledger = balances.ledger
    return [
        Check(
            "coins in the wallet",
            balances.wallet > 0,
            f"{user} has {describe(balances.wallet)}",
            how_to_get_coins(network.chain.chain_id, user),
        ),
        Check(
            "ledger",
            ledger is not None,
            "none" if ledger is None else f"{describe(ledger.available)} available",
            f"serving ledger open '{describe(minimum)}'",
        ),
    ]


async def examine_inference(
    network: AsyncNetwork,
    user: str,
    provider: str,
    service: str = INFERENCE,
    settlement: SignedSettlement | None = None,
) -> list[Check]:
    """The checks of an inference settlement. Nonce, fee and signature are checked if a settlement is given."""
    found = await network.service(service)
    account = await network.account(user, provider, service)
    offer = await network.offer(provider, service)
    checks = [
        _account_exists(account, user, provider, found),
        _service_exists(offer, provider, found),
        *_acknowledgements(account, offer, provider, found),
    ]
    if settlement is None:
        checks.append(_any_balance(account, provider, found))
        return checks
    row = settlement.settlement
    digest = Domain(INFERENCE_NAME, network.chain.chain_id, found.address).digest(TEESettlement(provider, row))
    checks += [
        _nonce(account, row.nonce),
        _signature(offer, digest, settlement.signature),
        _balance(
            account, row.total_fee, provider, found, "part of the fee is paid, and the rest needs a new signature"
        ),
    ]
    return checks


async def examine_fine_tuning(
    network: AsyncNetwork,
    user: str,
    provider: str,
    service: str = FINE_TUNING,
    *,
    message: VerifierMessage | None = None,
    signature: bytes = b"",
) -> list[Check]:
    """The eight checks of a fine-tuning settlement, in order, and the check of the secret."""
    found = await network.service(service)
    account = await network.account(user, provider, service)
    offer = await network.offer(provider, service)
    deliverables = await network.deliverables(user, provider, service) if account else []
    checks = [
        _account_exists(account, user, provider, found),
        _service_exists(offer, provider, found),
        *_acknowledgements(account, offer, provider, found),
    ]
    if message is None:
        checks.append(_any_balance(account, provider, found))
        checks.append(_waiting_deliverable(deliverables, user, provider))
        return checks
    deliverable = next((one for one in deliverables if one.id == message.id), None)
    digest = Domain(FINE_TUNING_NAME, network.chain.chain_id, found.address).digest(message)
    checks += [
        _nonce(account, message.nonce),
        _balance(account, message.task_fee, provider, found, "the balance must cover the full fee, even for a penalty"),
        Check(
            "deliverable exists",
            None if account is None else deliverable is not None,
            f"{message.id!r}",
            f"The provider runs: serving deliverable add {user} {message.id} HASH",
        ),
        Check(
            "not settled yet",
            None if deliverable is None else not deliverable.settled,
            "already settled" if deliverable and deliverable.settled else "open" if deliverable else "no deliverable",
            "Nothing to do: a deliverable is settled only once.",
        ),
        Check(
            "model root hash",
            None if deliverable is None else deliverable.model_root_hash == message.model_root_hash,
            "0x" + message.model_root_hash.hex(),
            "Sign the settlement again with the hash of the deliverable: serving deliverable show --help",
        ),
        _signature(offer, digest, signature),
        _secret(deliverable, message),
    ]
    return checks


def _account_exists(account: Account | None, user: str, provider: str, service: Service) -> Check:
    return Check(
        "account exists",
        account is not None,
        f"{user} with {provider} in {service.name}",
        f"The user runs: serving ledger fund {provider} AMOUNT --service {service.name}",
    )


def _service_exists(offer: ProviderService | None, provider: str, service: Service) -> Check:
    return Check(
        "service registered",
        offer is not None,
        f"{provider} in {service.name}",
        f"The provider runs: serving service register OFFER --service {service.name}",
    )


def _acknowledgements(
    account: Account | None, offer: ProviderService | None, provider: str, service: Service
) -> list[Check]:
    signer = ZERO_ADDRESS if offer is None else offer.offer.tee_signer
    return [
        Check(
            "acknowledged by the user",
            None if account is None else account.acknowledged,
            "by funding the provider, or explicitly",
            f"The user runs: serving account acknowledge {provider} --service {service.name}",
        ),
        Check(
            "confirmed by the owner",
            None if offer is None else offer.confirmed,
            f"TEE signer {signer}",
            f"The owner runs: serving signer confirm {provider} --expect {signer} --service {service.name}",
        ),
        Check(
            "TEE signer set",
            None if offer is None else signer != ZERO_ADDRESS,
            signer,
            f"The provider runs: serving service update --set tee_signer=0x... --service {service.name}",
        ),
    ]


def _nonce(account: Account | None, nonce: int) -> Check:
    return Check(
        "nonce",
        None if account is None else nonce > account.nonce,
        f"{nonce}, the last one was {account.nonce}" if account else f"{nonce}",
        "Sign the settlement again with a larger nonce.",
    )


def _any_balance(account: Account | None, provider: str, service: Service) -> Check:
    return Check(
        "balance",
        None if account is None else account.balance > 0,
        f"{describe(account.balance)}, pending refund {describe(account.pending_refund)}" if account else "no account",
        f"The user runs: serving ledger fund {provider} AMOUNT --service {service.name}",
    )


def _balance(account: Account | None, fee: int, provider: str, service: Service, otherwise: str) -> Check:
    has = account.balance if account else 0
    return Check(
        "balance",
        None if account is None else has >= fee,
        f"{describe(has)} for a fee of {describe(fee)}" + ("" if has >= fee else f"; {otherwise}"),
        f"The user runs: serving ledger fund {provider} '{describe(max(fee - has, 0))}' --service {service.name}",
    )


def _signature(offer: ProviderService | None, digest: bytes, signature: bytes) -> Check:
    signer = offer.offer.tee_signer if offer else ZERO_ADDRESS
    return Check(
        "signature",
        None if offer is None else signed_by(signer, digest, signature),
        f"must be by {signer}, for this chain and contract, over every field",
        "Sign the settlement again with the registered TEE signer: serving service show",
    )


def _waiting_deliverable(deliverables: list[Deliverable], user: str, provider: str) -> Check:
    latest = deliverables[-1] if deliverables else None
    blocked = latest is not None and not latest.acknowledged and not latest.settled
    return Check(
        "next deliverable possible",
        not blocked,
        f"{latest.id!r} is not acknowledged yet" if latest and blocked else "no deliverable is waiting",
        f"The user {user} runs: serving deliverable acknowledge {provider} {latest.id if latest else 'ID'}",
    )


def _secret(deliverable: Deliverable | None, message: VerifierMessage) -> Check:
    acknowledged = deliverable is not None and deliverable.acknowledged
    return Check(
        "secret",
        None if deliverable is None else bool(message.encrypted_secret) == acknowledged,
        "acknowledged: the secret must be revealed" if acknowledged else "not acknowledged: there must be no secret",
        "Sign the settlement again with the encrypted secret."
        if acknowledged
        else "Sign it again with an empty secret.",
    )
