"""`serving deliverable show`"""

from __future__ import annotations

from serving_network.cli.arguments import DELIVERABLE_ID, FINE_TUNING_SERVICE, PROVIDER, USER
from serving_network.cli.context import Session, reads
from serving_network.cli.deliverable.list import deliverable_as_json, state
from serving_network.cli.times import moment


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
    found = await network.deliverable(session.address(user), session.address(provider), deliverable_id, service)
    session.out.result(deliverable_as_json(found))
    session.out.facts(
        {
            "id": found.id,
            "state": state(found),
            "added": moment(found.added_at),
            "model root hash": "0x" + found.model_root_hash.hex(),
            "encrypted secret": "0x" + found.encrypted_secret.hex() if found.encrypted_secret else "none",
        }
    )
