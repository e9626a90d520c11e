# SPDX-License-Identifier: Apache-2.0
"""A plan: computed once, shown, and carried out as shown.

    plan = await plan_upgrade(chain, record, "ledger", signer.address)
    done = await carry_out(chain, signer, file, plan)

Deployments, upgrades, rollbacks, transfers of ownership, registrations and recommendations are all plans. Each has a
module with a function that computes it; `engine.carry_out` carries out any of them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from serving_network.chain.contract import Contract
from serving_network.deployment.errors import PlanOutdated, PlanRefused
from serving_network.deployment.genesis import check_chain
from serving_network.errors import ContractError

if TYPE_CHECKING:
    from serving_network.chain.connection import AsyncConnection
    from serving_network.deployment.record import Instruction, Pending, Record, Step, What

Question = Callable[["AsyncConnection"], Awaitable[Any]]
WriteDown = Callable[["AsyncConnection", "Record", "Sequence[Step]"], Awaitable[None]]


@dataclass(frozen=True)
class Assumption:
    """A fact about the chain that a plan depends on: what `ask` answered when the plan was made."""

    says: str
    ask: Question
    answer: Any

    @classmethod
    async def now(cls, chain: AsyncConnection, says: str, ask: Question) -> Self:
        """What the chain answers now."""
        return cls(says, ask, await ask(chain))

    async def check(self, chain: AsyncConnection) -> None:
        """Ask again. Raises PlanOutdated if the answer has changed."""
        answer = await self.ask(chain)
        if answer != self.answer:
            raise PlanOutdated(f"{self.says} was {self.answer} and is now {answer}")


def getter(contract: str, address: str, name: str, *arguments: Any) -> Question:
    """The question what a getter of a contract returns; its ContractError is an answer, too."""

    async def ask(chain: AsyncConnection) -> Any:
        try:
            return await Contract(chain, contract, address).read(name, *arguments)
        except ContractError as error:
            return str(error)

    return ask


def transaction_count(sender: str) -> Question:
    """The question how many transactions of `sender` are mined, on which the addresses of its contracts depend."""
    return lambda chain: chain.rpc("eth_getTransactionCount", [sender, "latest"])


@dataclass(frozen=True)
class Delegated:
    """A call that another owner must make after the steps of a plan."""

    owner: str
    step: Step


@dataclass(frozen=True)
class Plan:
    """What `sender` is going to send, in this order, and what follows from it.

    `subject` is the contract, service or network concerned. `delegated` are the calls of other owners, which become
    instructions. `notes` are differences that no deployment can change, `appended` the variables and bits that an
    upgrade adds to the storage. `write_down` updates the record when all steps are final. With `resumed`, the steps
    are those of unfinished work in the record.
    """

    what: What
    subject: str
    sender: str
    steps: tuple[Step, ...]
    write_down: WriteDown
    delegated: tuple[Delegated, ...] = ()
    notes: tuple[str, ...] = ()
    appended: tuple[str, ...] = ()
    assumptions: tuple[Assumption, ...] = ()
    resumed: bool = False


@dataclass(frozen=True)
class Done:
    """What a run did: the steps that it sent or found sent, and the instructions that are open now."""

    steps: tuple[Step, ...]
    instructions: tuple[Instruction, ...]

    @property
    def gas(self) -> int:
        """Gas that all steps used."""
        return sum(step.mined.gas_used for step in self.steps if step.mined is not None)


async def check_ready(chain: AsyncConnection, record: Record, what: What, subject: str) -> Pending | None:
    """Check that the chain is the record's and that no other work is unfinished; returns this work, if it is.

    Raises WrongChain and PlanRefused.
    """
    await check_chain(chain, record)
    pending = record.pending
    if pending is not None and (pending.what, pending.subject) != (what, subject):
        raise PlanRefused(
            f"{pending.title} is not finished.",
            next_step=f"Run serving {pending.command} --network {record.network}, then run this again.",
        )
    return pending


def resumed(pending: Pending, write_down: WriteDown) -> Plan:
    """The plan of unfinished work."""
    return Plan(
        what=pending.what,
        subject=pending.subject,
        sender=pending.sender,
        steps=tuple(pending.steps),
        write_down=write_down,
        resumed=True,
    )
