# SPDX-License-Identifier: Apache-2.0
"""The failures of deployments, upgrades and transfers of ownership.

ServingError
└── DeploymentError
    ├── RecordProblem        a network's file is missing or damaged, or another run is using it
    ├── PlanRefused          this must not be done; nothing was sent
    │   ├── LayoutRefused    the new implementation would misread stored words
    │   ├── ForeignProxy     the beacon or front was not built by this project
    │   ├── PlanOutdated     the chain has changed since the plan was made
    │   └── NotTheOwner      the key in use may not do this
    ├── NotAsRecorded        the chain differs from the record
    ├── RehearsalFailed      the change did harm on a copy of the chain
    ├── VerifierFailed       a verification service refused or sent no valid answer
    ├── NothingToCompile     the sources or the compiler are not on this machine
    └── NotReproduced        the sources do not compile to the package's code
"""

from collections.abc import Sequence

from serving_network.deployment.layout import Refusal
from serving_network.errors import ServingError


class DeploymentError(ServingError):
    """A deployment, an upgrade or a transfer of ownership did not happen, or not completely."""

    exit_code = 6


class RecordProblem(DeploymentError):
    """A network's file cannot be used."""

    exit_code = 3


class PlanRefused(DeploymentError):
    """This must not be done. Nothing was sent."""

    exit_code = 2


class LayoutRefused(PlanRefused):
    """The new implementation would misread stored words; `refusals` names each of them."""

    def __init__(self, contract: str, refusals: Sequence[Refusal]) -> None:
        super().__init__(
            "\n  ".join([f"The new {contract} would misread what is stored.", *(str(one) for one in refusals)]),
            cause="A front keeps its storage when the code behind it changes, so every word must keep its meaning.",
            next_step="Restore the order of the stored variables and append new ones at the end.",
        )
        self.refusals = tuple(refusals)

    @property
    def lines(self) -> tuple[str, ...]:
        return (self.message.partition("\n")[0], *map(str, self.refusals))


class ForeignProxy(PlanRefused):
    """The beacon or front was not built by this project."""


class PlanOutdated(PlanRefused):
    """The chain has changed since the plan was made; `change` says what."""

    def __init__(self, change: str) -> None:
        super().__init__(
            f"The plan is outdated: {change}.",
            cause="The chain changed after the plan was made. Nothing was sent.",
            next_step="Run this again to see the new plan.",
        )
        self.change = change


class NotTheOwner(PlanRefused):
    """The key in use may not do this; `owner` may."""

    exit_code = 4

    def __init__(self, message: str, *, owner: str, next_step: str) -> None:
        super().__init__(message, next_step=next_step)
        self.owner = owner


class NotAsRecorded(DeploymentError):
    """The chain differs from the record; `differences` names each place."""

    exit_code = 9

    def __init__(self, differences: Sequence[str], *, next_step: str) -> None:
        super().__init__("The chain differs from the record: " + "; ".join(differences) + ".", next_step=next_step)
        self.differences = tuple(differences)


class RehearsalFailed(DeploymentError):
    """The change did harm on a copy of the chain. Nothing was sent."""

    exit_code = 9


class VerifierFailed(DeploymentError):
    """A verification service refused, or sent no valid answer."""

    exit_code = 5


class NothingToCompile(DeploymentError):
    """The sources or the compiler are not on this machine."""

    exit_code = 3


class NotReproduced(DeploymentError):
    """The sources do not compile to the code that the package contains."""

    exit_code = 9
