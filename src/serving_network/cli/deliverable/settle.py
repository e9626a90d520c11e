"""`serving deliverable settle`"""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from serving_network.cli.arguments import FINE_TUNING_SERVICE
from serving_network.cli.context import Session, writes
from serving_network.cli.settlement.file import read_task
from serving_network.clients.provider import AsyncProvider
from serving_network.messages.typed_data import verifier_typed_data


@writes
async def settle(
    session: Session,
    task: Annotated[
        Path,
        typer.Argument(help="JSON: id, user, taskFee, modelRootHash, encryptedSecret; of the TEE nonce, signature."),
    ],
    tee_key: Annotated[
        str | None, typer.Option(help="For development: sign with this key of the key store, with a nonce of now.")
    ] = None,
    service: FINE_TUNING_SERVICE = "fine-tuning",
) -> None:
    """For the provider: be paid for one deliverable, in full if the user accepted it, else the penalty.

    Example: serving deliverable settle task-1.json
    """
    provider = await session.act(AsyncProvider)
    message, signature = read_task(task, signed=tee_key is None)
    if tee_key is not None:
        found = await provider.service(service)
        message = replace(message, nonce=time.time_ns() // 100)
        typed_data = verifier_typed_data(session.network.chain_id, found.address, message)
        signature = session.unlock(tee_key).sign_typed_data(typed_data)
    await provider.settle_deliverable(message, signature, service)
