# SPDX-License-Identifier: Apache-2.0
"""Check a payment with its signed settlement, if there is one: nonce, signature, fee, and the deliverable."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from serving_network.clients.doctor.check import Check, step
from serving_network.clients.doctor.payment import Means, balance, examine_payment, examine_relation
from serving_network.contracts.models import FINE_TUNING, INFERENCE, ZERO_ADDRESS
from serving_network.messages.typed_data import (
    FINE_TUNING_NAME,
    INFERENCE_NAME,
    Domain,
    TEESettlement,
    VerifierMessage,
)
from serving_network.signing import signed_by

if TYPE_CHECKING:
    from serving_network.clients.provider import SignedSettlement
    from serving_network.clients.read.network import AsyncNetwork
    from serving_network.contracts.models import Account, Deliverable, ProviderService


async def examine_inference(
    network: AsyncNetwork,
    user: str,
    provider: str,
    service: str = INFERENCE,
    settlement: SignedSettlement | None = None,
) -> list[Check]:
    """The checks of an inference settlement. Nonce, fee and signature are checked if a settlement is given."""
    if settlement is None:
        return await examine_payment(network, user, provider, service)
    found = await network.service(service)
    row = settlement.settlement
    means = await Means.of(network, user, provider, service, row.total_fee)
    digest = Domain(INFERENCE_NAME, network.chain.chain_id, found.address).digest(TEESettlement(provider, row))
    partly = "part of the fee is paid, and the rest needs a new signature"
    return [
        *await examine_relation(network, user, provider, service, means),
        _nonce(means.account, row.nonce),
        _signature(await network.offer(provider, service), digest, settlement.signature),
        await balance(network, provider, service, means, row.total_fee, partly),
    ]


async def examine_fine_tuning(
    network: AsyncNetwork,
    user: str,
    provider: str,
    service: str = FINE_TUNING,
    *,
    message: VerifierMessage | None = None,
    signature: bytes = b"",
) -> list[Check]:
    """The eight checks of a fine-tuning settlement, and the check of the secret."""
    found = await network.service(service)
    means = await Means.of(network, user, provider, service, message.task_fee if message else None)
    deliverables = await network.deliverables(user, provider, service) if means.account else []
    if message is None:
        return [
            *await examine_payment(network, user, provider, service),
            await _waiting_deliverable(network, user, deliverables, provider, found.name),
        ]
    deliverable = next((one for one in deliverables if one.id == message.id), None)
    digest = Domain(FINE_TUNING_NAME, network.chain.chain_id, found.address).digest(message)
    whole = "the balance must cover the full fee, even for a penalty"
    root = "0x" + message.model_root_hash.hex()
    add = f"serving deliverable add {user} {shlex.quote(message.id)} {root} --service {found.name}"
    return [
        *await examine_relation(network, user, provider, service, means),
        _nonce(means.account, message.nonce),
        await balance(network, provider, service, means, message.task_fee, whole),
        Check(
            "deliverable exists",
            None if means.account is None else deliverable is not None,
            f"{message.id!r}",
            await step(network, provider, add),
            "provider",
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
            root,
            "Sign the settlement again with the hash of the deliverable: serving deliverable show --help",
            "provider",
        ),
        _signature(await network.offer(provider, service), digest, signature),
        _secret(deliverable, message),
    ]


def _nonce(account: Account | None, nonce: int) -> Check:
    return Check(
        "nonce",
        None if account is None else nonce > account.nonce,
        f"{nonce}, the last one was {account.nonce}" if account else f"{nonce}",
        "Sign the settlement again with a larger nonce.",
        "provider",
    )


def _signature(offer: ProviderService | None, digest: bytes, signature: bytes) -> Check:
    signer = offer.offer.tee_signer if offer else ZERO_ADDRESS
    return Check(
        "signature",
        None if offer is None else signed_by(signer, digest, signature),
        f"must be by {signer}, for this chain and contract, over every field",
        "Sign the settlement again with the registered TEE signer: serving service show",
        "provider",
    )


async def _waiting_deliverable(
    network: AsyncNetwork, user: str, deliverables: list[Deliverable], provider: str, service: str
) -> Check:
    name = "next deliverable possible"
    latest = deliverables[-1] if deliverables else None
    if latest is None or latest.acknowledged or latest.settled:
        return Check(name, True, "no deliverable is waiting")
    command = f"serving deliverable acknowledge {provider} {shlex.quote(latest.id)} --service {service}"
    return Check(name, False, f"{latest.id!r} is not acknowledged yet", await step(network, user, command), "user")


def _secret(deliverable: Deliverable | None, message: VerifierMessage) -> Check:
    acknowledged = deliverable is not None and deliverable.acknowledged
    return Check(
        "secret",
        None if deliverable is None else bool(message.encrypted_secret) == acknowledged,
        "acknowledged: the secret must be revealed" if acknowledged else "not acknowledged: there must be no secret",
        "Sign the settlement again with the encrypted secret."
        if acknowledged
        else 'Sign it again with an empty secret: "encryptedSecret": "0x".',
        "provider",
    )
