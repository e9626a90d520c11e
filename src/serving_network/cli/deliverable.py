# SPDX-License-Identifier: Apache-2.0
"""`serving deliverable`: fine-tuned models on their way from provider to user."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from serving_network.cli.console.arguments import DELIVERABLE_ID, FINE_TUNING_SERVICE, PROVIDER, USER, parse_data
from serving_network.cli.console.command import reads, writes
from serving_network.cli.console.complete import complete_key
from serving_network.cli.console.session import Session
from serving_network.cli.console.times import local_time, moment
from serving_network.cli.files.settlements import read_task

if TYPE_CHECKING:
    from serving_network.contracts.models import Deliverable

app = typer.Typer(help="Deliver fine-tuned models, acknowledge them, and settle their fees.")


@app.command("list")
@reads
async def list_deliverables(
    session: Session, user: USER, provider: PROVIDER, service: FINE_TUNING_SERVICE = "fine-tuning"
) -> None:
    """List the deliverables between a user and a provider, oldest first. The last 20 are kept.

    Example: serving deliverable list my-key good-provider
    """
    network = await session.reader()
    with _funding_named(service):
        found = await network.deliverables(session.address(user), session.address(provider), service)
    session.out.result([_as_json(one) for one in found])
    session.out.table(
        ("id", "added", "state", "model root hash"),
        [(one.id, local_time(one.added_at), _state(one), "0x" + one.model_root_hash.hex()) for one in found],
        empty="There are no deliverables.",
    )


@app.command()
@reads
async def show(
    session: Session,
    user: USER,
    provider: PROVIDER,
    deliverable_id: DELIVERABLE_ID,
    service: FINE_TUNING_SERVICE = "fine-tuning",
) -> None:
    """Show one deliverable, with its encrypted secret once it is settled.

    Example: serving deliverable show my-key good-provider task-1
    """
    network = await session.reader()
    with _funding_named(service):
        found = await network.deliverable(session.address(user), session.address(provider), deliverable_id, service)
    session.out.result(_as_json(found))
    session.out.facts(
        {
            "id": found.id,
            "state": _state(found),
            "added": local_time(found.added_at),
            "model root hash": "0x" + found.model_root_hash.hex(),
            "encrypted secret": "0x" + found.encrypted_secret.hex() if found.encrypted_secret else "none",
        }
    )


@app.command()
@writes
async def add(
    session: Session,
    user: USER,
    deliverable_id: DELIVERABLE_ID,
    model_root_hash: Annotated[
        bytes, typer.Argument(parser=parse_data, metavar="HASH", help="The model's root hash, in hexadecimal.")
    ],
    service: FINE_TUNING_SERVICE = "fine-tuning",
) -> None:
    """Add a fine-tuned model for a user, as the provider.

    Example: serving deliverable add a-user task-1 0x6d6f64656c
    """
    provider = await session.provider()
    with _funding_named(service):
        await provider.add_deliverable(session.address(user), deliverable_id, model_root_hash, service)


@app.command()
@writes
async def acknowledge(
    session: Session,
    provider: PROVIDER,
    deliverable_id: DELIVERABLE_ID,
    service: FINE_TUNING_SERVICE = "fine-tuning",
) -> None:
    """Acknowledge a fine-tuned model, as the user. The provider is then paid in full and reveals its secret.

    Example: serving deliverable acknowledge good-provider task-1
    """
    user = await session.user()
    with _funding_named(service):
        await user.acknowledge_deliverable(session.address(provider), deliverable_id, service)


@app.command()
@writes
async def abandon(
    session: Session, user: USER, deliverable_id: DELIVERABLE_ID, service: FINE_TUNING_SERVICE = "fine-tuning"
) -> None:
    """Abandon a deliverable without payment, as the provider, so that the next one can be added.

    Example: serving deliverable abandon a-user task-1
    """
    provider = await session.provider()
    with _funding_named(service):
        await provider.abandon_deliverable(session.address(user), deliverable_id, service)


@app.command()
@writes
async def settle(
    session: Session,
    task: Annotated[
        Path,
        typer.Argument(
            help="JSON: id, user, taskFee (wei, or with a unit), modelRootHash, encryptedSecret"
            " (0x if not acknowledged); from the TEE nonce, signature."
        ),
    ],
    tee_key: Annotated[
        str | None,
        typer.Option(
            help="For development: sign with this key of the key store, with the current time as nonce.",
            autocompletion=complete_key,
        ),
    ] = None,
    service: FINE_TUNING_SERVICE = "fine-tuning",
) -> None:
    """Settle one deliverable, as the provider: for the full fee if the user acknowledged it, else for the penalty.

    Example: serving deliverable settle task-1.json
    """
    from serving_network.messages.typed_data import verifier_typed_data

    provider = await session.provider()
    message, signature = read_task(task, signed=tee_key is None)
    if tee_key is not None:
        found = await provider.service(service)
        message = replace(message, nonce=time.time_ns() // 100)
        typed_data = verifier_typed_data(session.network.chain_id, found.address, message)
        signature = session.unlock(tee_key).sign_typed_data(typed_data)
    with _funding_named(service):
        await provider.settle_deliverable(message, signature, service)


@contextmanager
def _funding_named(service: str) -> Iterator[None]:
    """Let the failure for a missing account name who funds it, and in which service."""
    from serving_network.contracts.errors import AccountNotExists

    try:
        yield
    except AccountNotExists as failure:
        failure.next_step = f"The user runs: serving ledger fund {failure.provider} AMOUNT --service {service}"
        raise


def _state(deliverable: Deliverable) -> str:
    if deliverable.settled:
        return "settled" if deliverable.encrypted_secret else "settled without its secret"
    return "acknowledged, not settled yet" if deliverable.acknowledged else "not acknowledged yet"


def _as_json(one: Deliverable) -> dict[str, Any]:
    return {
        "id": one.id,
        "added": moment(one.added_at),
        "acknowledged": one.acknowledged,
        "settled": one.settled,
        "model_root_hash": "0x" + one.model_root_hash.hex(),
        "encrypted_secret": "0x" + one.encrypted_secret.hex(),
    }
