"""What the verbs of a handover share."""

from enum import StrEnum
from typing import Annotated

import typer

from serving_network.deployment.handover import KINDS, Kind


class Ownership(StrEnum):
    """Which ownership is meant."""

    BUSINESS = "business"
    UPGRADE = "upgrade"
    BOTH = "both"

    @property
    def kinds(self) -> tuple[Kind, ...]:
        return KINDS if self is Ownership.BOTH else tuple(kind for kind in KINDS if kind == self.value)


HEIR = Annotated[str, typer.Argument(metavar="TO", help="The new owner: an address, or a name in the address book.")]
WHAT = Annotated[Ownership, typer.Option(help="Of the contracts, of their upgrades, or of both.")]
ONLY = Annotated[list[str] | None, typer.Option(help="Only this contract; may be repeated. Default: all.")]
ONE_STEP = Annotated[
    bool,
    typer.Option(
        "--one-step", help="Give it away at once. Default: offer it, so that it moves when the new owner accepts."
    ),
]
