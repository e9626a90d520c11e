"""`serving deliverable list`"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from serving_network.cli.arguments import FINE_TUNING_SERVICE, PROVIDER, USER
from serving_network.cli.context import Session, reads
from serving_network.cli.times import moment

if TYPE_CHECKING:
    from serving_network.contracts.models import Deliverable


@reads
async def list_deliverables(
    session: Session, user: USER, provider: PROVIDER, service: FINE_TUNING_SERVICE = "fine-tuning"
) -> None:
    """List the deliverables between a user and a provider, oldest first; the last 20 are kept.

    Example: serving deliverable list my-key good-provider
    """
    network = await session.reader()
    found = await network.deliverables(session.address(user), session.address(provider), service)
    session.out.result([deliverable_as_json(one) for one in found])
    session.out.table(
        ("id", "added", "state", "model root hash"),
        [(one.id, moment(one.added_at), state(one), "0x" + one.model_root_hash.hex()) for one in found],
        empty="There are no deliverables.",
    )


def state(deliverable: Deliverable) -> str:
    """Where the deliverable is on its way."""
    if deliverable.settled:
        return "settled" if deliverable.encrypted_secret else "settled without its secret"
    return "accepted, to be settled" if deliverable.acknowledged else "waits for the user"


def deliverable_as_json(one: Deliverable) -> dict[str, Any]:
    """One deliverable in JSON."""
    return {
        "id": one.id,
        "added": moment(one.added_at),
        "acknowledged": one.acknowledged,
        "settled": one.settled,
        "model_root_hash": "0x" + one.model_root_hash.hex(),
        "encrypted_secret": "0x" + one.encrypted_secret.hex(),
    }
