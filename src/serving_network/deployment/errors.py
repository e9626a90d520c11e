# SPDX-License-Identifier: Apache-2.0
"""What can go wrong between a plan and a network.

ServingError
└── DeploymentError
    ├── RecordProblem        the network's file is missing, damaged, or written by another version
    ├── PlanRefused          what was asked must not be done; nothing was sent
    │   ├── LayoutRefused    the new implementation would misread stored words
    │   ├── ForeignProxy     the beacon or front is not one of ours
    │   └── NotTheOwner      the key at hand may not do this step
    ├── NotAsRecorded        the chain differs from the file
    ├── RehearsalFailed      the books or the answers changed on the copy of the chain
    └── VerifierFailed       a verification service refused or did not understand
"""

from collections.abc import Sequence

from serving_network.deployment.layout import Refusal
from serving_network.errors import ServingError


class DeploymentError(ServingError):
    """A deployment, upgrade or handover did not happen, or not completely."""

    exit_code = 6


class RecordProblem(DeploymentError):
    """A network's file cannot be used as it is."""

    exit_code = 3


class PlanRefused(DeploymentError):
    """What was asked must not be done. Nothing was sent."""

    exit_code = 2


class LayoutRefused(PlanRefused):
    """The new implementation would misread stored words; `refusals` names each of them."""

    def __init__(self, contract: str, refusals: Sequence[Refusal]) -> None:
        super().__init__(
            "\n  ".join([f"The new {contract} would misread what is stored.", *(str(one) for one in refusals)]),
            cause="A front keeps its storage when the code behind it changes, so every word must keep its meaning.",
            next_step="Put every stored variable back where it was and append the new ones at the end.",
        )
        self.refusals = tuple(refusals)


class ForeignProxy(PlanRefused):
    """The beacon or front does not run code that this project built."""


class NotTheOwner(PlanRefused):
    """The key at hand may not do this step; `owner` is who may."""

    exit_code = 4

    def __init__(self, message: str, *, owner: str, next_step: str) -> None:
        super().__init__(message, next_step=next_step)
        self.owner = owner


class NotAsRecorded(DeploymentError):
    """The chain differs from the network's file; `differences` names each place."""

    exit_code = 9

    def __init__(self, differences: Sequence[str], *, next_step: str) -> None:
        super().__init__("The chain is not as recorded: " + "; ".join(differences) + ".", next_step=next_step)
        self.differences = tuple(differences)


class RehearsalFailed(DeploymentError):
    """On a copy of the chain's state the change did harm. Nothing was sent."""

    exit_code = 9


class VerifierFailed(DeploymentError):
    """A verification service refused, or answered what its protocol does not know."""

    exit_code = 5
