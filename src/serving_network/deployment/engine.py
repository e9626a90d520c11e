# SPDX-License-Identifier: Apache-2.0
"""Carry out a plan, so that a crash at any moment does no harm.

A step's signed transaction is in the journal, on disk, before it is broadcast. The next run finds it there and looks
for its receipt. Without a receipt it broadcasts the same bytes again, which the chain accepts at most once. Another
transaction is signed for a step only if the former one can never be mined, because its nonce is used or because it was
mined and failed. A step is done when it is as many blocks deep as the network's file requires: if the chain is
reorganised before that, the step is sent again.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

from serving_network.chain.connection import AsyncConnection
from serving_network.chain.fees import Fees
from serving_network.chain.node import from_quantity
from serving_network.chain.receipts import Receipt
from serving_network.deployment.bytecode import FRONT, artifact_hash, code_problem
from serving_network.deployment.calls import step_data
from serving_network.deployment.effects import has_happened
from serving_network.deployment.errors import DeploymentError, NotAsRecorded, NotTheOwner, PlanOutdated, PlanRefused
from serving_network.deployment.plan import Done, Plan, check_ready
from serving_network.deployment.record import MinedTransaction, Pending, SignedAttempt, Step
from serving_network.deployment.record_file import RecordFile
from serving_network.deployment.steps import created_address, known_addresses, resolve
from serving_network.errors import ServingError, TransactionDropped, TransactionPending
from serving_network.messages.transactions import SignedTransaction
from serving_network.signing import Signer

log = logging.getLogger(__name__)

LOOK_SECONDS = 0.5

Progress = Callable[[Step, Literal["sent", "mined"]], None]


@dataclass(frozen=True)
class RunOptions:
    """How steps are sent. A step is final when it is `confirmations` blocks deep, its own block included.

    With `estimate` the node estimates the gas of every step; without, the step's own limit is used. `timeout` is in
    seconds and for one step. Without `fees` the node's suggestion is paid. `progress` is called for each transaction.
    """

    confirmations: int = 1
    estimate: bool = True
    timeout: float = 300
    fees: Fees | None = None
    progress: Progress | None = None


DEFAULT: Final = RunOptions()


async def carry_out(
    chain: AsyncConnection, signer: Signer, file: RecordFile, plan: Plan, options: RunOptions = DEFAULT
) -> Done:
    """Send the steps of the plan, exactly these, wait until all are final, and update the record.

    If it is interrupted, plan again and carry that out: the new plan resumes the unfinished work. If it fails before
    anything was sent, no work is left unfinished. Raises PlanOutdated if the plan depends on something that has changed
    on the chain since it was made, RecordProblem if another run has changed the record, NotTheOwner for another key
    than the plan's, and whatever stops a step.
    """
    with file.locked():
        record = file.record
        pending = await check_ready(chain, record, plan.what, plan.subject)
        if plan.sender != signer.address:
            raise NotTheOwner(
                f"These steps are for the key of {plan.sender}, not for {signer.address}.",
                owner=plan.sender,
                next_step=f"Run this again with the key of {plan.sender}.",
            )
        if (pending is not None) != plan.resumed:
            raise PlanOutdated("the record's unfinished work is not the plan's")
        for assumption in plan.assumptions:
            await assumption.check(chain)
        steps = plan.steps
        if steps:
            if pending is None:
                pending = Pending(what=plan.what, sender=plan.sender, subject=plan.subject, steps=_copies(steps))
                record.pending = pending
                file.save()
            try:
                await _Engine(chain, signer, file, pending, options).run()
            except ServingError:
                if not any(step.attempts or step.mined for step in pending.steps):
                    record.pending = None  # nothing of it can take effect, so nothing is unfinished
                    file.save()
                raise
            steps = tuple(pending.steps)
        await plan.write_down(chain, record, steps)
        record.pending = None
        file.save()
        return Done(steps, tuple(record.open_instructions))


def _copies(steps: tuple[Step, ...]) -> list[Step]:
    """The steps to be worked on, apart from those that were shown."""
    return [step.model_copy(deep=True) for step in steps]


class _Engine:
    """Carries out what is pending in a record, from any state."""

    def __init__(
        self, chain: AsyncConnection, signer: Signer, file: RecordFile, pending: Pending, options: RunOptions
    ) -> None:
        self._chain = chain
        self._signer = signer
        self._file = file
        self._pending = pending
        self._options = options
        self._progress = options.progress or (lambda _step, _event: None)

    async def run(self) -> None:
        """Send what is not sent, and wait until all is final.

        Raises PlanRefused if the package now contains other code than when the work was begun, and whatever stops a
        step; calling it again resumes.
        """
        pending = self._pending
        self._check_artifacts(pending)
        while True:
            for step in pending.steps:
                if step.mined is None:
                    await self._do(step)
            if await self._all_final(pending):
                break
        await self._check_effects(pending)

    def _check_artifacts(self, pending: Pending) -> None:
        for step in pending.steps:
            if step.action != "create" or step.mined is not None:
                continue
            now = artifact_hash(step.contract)
            if step.artifact_hash not in (None, now):
                raise PlanRefused(
                    f"{step.id} was planned with another build of {step.contract}.",
                    cause=f"Planned: {step.artifact_hash}, now: {now}.",
                    next_step="Finish with the release that began this work.",
                )

    async def _do(self, step: Step) -> None:
        receipt = await self._receipt_of_earlier(step)
        while receipt is None:
            signed = await self._alive(step) or await self._sign(step)
            try:
                await self._chain.broadcast(signed)
                self._progress(step, "sent")
                receipt = await self._chain.wait(*(one.signed for one in step.attempts), timeout=self._options.timeout)
            except TransactionDropped:
                receipt = await self._receipt_of_earlier(step)
                if receipt is None:
                    await self._forget_unless_final(step, signed.nonce)
            except ServingError:
                if await self._failed(step):
                    self._forget(step)
                raise
        await self._note(step, receipt)

    async def _receipt_of_earlier(self, step: Step) -> Receipt | None:
        """The receipt of an attempt that succeeded.

        Failed attempts are forgotten: they can no longer have an effect.
        """
        for attempt in list(step.attempts):
            receipt = await self._chain.receipt(attempt.signed.hash)
            if receipt is not None and receipt.succeeded:
                return receipt
        if await self._failed(step):
            self._forget(step)
        return None

    async def _failed(self, step: Step) -> bool:
        receipts = [await self._chain.receipt(attempt.signed.hash) for attempt in step.attempts]
        return any(receipt is not None and not receipt.succeeded for receipt in receipts)

    async def _alive(self, step: Step) -> SignedTransaction | None:
        """The newest attempt, if it can still be mined; replaced by one with a higher fee if its fee is too low."""
        if not step.attempts:
            return None
        newest = step.attempts[-1].signed
        if await self._used(newest.nonce, "latest"):
            await self._forget_unless_final(step, newest.nonce)
            return None
        base_fee = (await self._chain.block()).get("baseFeePerGas")
        if base_fee is not None and from_quantity(base_fee) > newest.max_fee_per_gas:
            newest = await self._chain.replace(self._signer, newest)
            self._journal(step, newest)
        return newest

    async def _used(self, nonce: int, block: int | str) -> bool:
        place = hex(block) if isinstance(block, int) else block
        count = await self._chain.rpc("eth_getTransactionCount", [self._signer.address, place])
        return from_quantity(count) > nonce

    async def _forget_unless_final(self, step: Step, nonce: int) -> None:
        """Forget attempts whose nonce another transaction took, once that one is final: until then a reorganisation
        could make them valid again, beside what was sent in their place."""
        deep = await self._chain.block_number() - self._options.confirmations + 1
        if deep < 0 or not await self._used(nonce, deep):
            raise DeploymentError(
                f"Another transaction of {self._signer.address} took nonce {nonce} of {step.id} and is not final yet.",
                next_step="Run this again when it is final, to resume.",
            )
        self._forget(step)

    async def _sign(self, step: Step) -> SignedTransaction:
        addresses = known_addresses(self._file.record)
        to = None if step.to is None else resolve(step.to, addresses)
        signed = await self._chain.prepare(
            self._signer,
            to,
            step_data(step, addresses),
            gas=None if self._options.estimate else step.gas,
            fees=self._options.fees,
        )
        if step.action == "create":
            address = created_address(self._signer.address, signed.nonce)
            if await self._chain.code(address):
                self._chain.release(signed)
                raise DeploymentError(
                    f"{step.id} would be created at {address}, where there is code already.",
                    cause="The node does not count all transactions of this key, because it is not in sync.",
                    next_step="Use another node, or wait until this one is in sync.",
                )
            step.address = address
        self._journal(step, signed)
        return signed

    def _journal(self, step: Step, signed: SignedTransaction) -> None:
        step.attempts = [*step.attempts, SignedAttempt(sender=signed.sender, raw="0x" + signed.raw.hex())]
        self._file.save()

    def _forget(self, step: Step) -> None:
        step.attempts = []
        step.address = None
        self._file.save()

    async def _note(self, step: Step, receipt: Receipt) -> None:
        (nonce,) = {one.signed.nonce for one in step.attempts}
        if receipt.contract_address not in (None, step.address):
            raise NotAsRecorded(
                [f"{step.id} was created at {receipt.contract_address} instead of {step.address}"],
                next_step="Use another node: this one contradicts itself.",
            )
        step.mined = MinedTransaction(
            transaction=receipt.transaction_hash,
            sender=self._signer.address,
            nonce=nonce,
            block=receipt.block_number,
            block_hash=receipt.block_hash,
            gas_used=receipt.gas_used,
        )
        self._file.save()
        self._progress(step, "mined")

    async def _all_final(self, pending: Pending) -> bool:
        """Wait until every step is deep enough; False as soon as one of them is no longer in its block."""
        deadline = time.monotonic() + self._options.timeout
        while True:
            if await self._undone(pending):
                return False
            head = await self._chain.block_number()
            waiting = [
                one for one in pending.steps if one.mined and head - one.mined.block + 1 < self._options.confirmations
            ]
            if not waiting:
                return True
            if time.monotonic() + LOOK_SECONDS > deadline:
                raise TransactionPending(
                    f"Everything is sent, but {waiting[-1].id} is not {self._options.confirmations} blocks deep after "
                    f"{self._options.timeout:.0f} s.",
                    transaction=waiting[-1].attempts[-1].signed.hash,
                    next_step="Run this again later, to resume.",
                )
            await asyncio.sleep(LOOK_SECONDS)

    async def _undone(self, pending: Pending) -> bool:
        """Whether a reorganisation has undone a step, which is then marked as not done."""
        for step in pending.steps:
            receipt = step.mined and await self._chain.receipt(step.mined.transaction)
            if step.mined is None or receipt is None or receipt.block_hash != step.mined.block_hash:
                log.warning("A reorganisation of the chain has undone %s; it is sent again.", step.id)
                step.mined = None
                self._file.save()
                return True
        return False

    async def _check_effects(self, pending: Pending) -> None:
        addresses = known_addresses(self._file.record)
        missing: list[str] = []
        for step in pending.steps:
            if step.action == "create":
                code = await self._chain.code(str(step.address))
                beacon = resolve(step.arguments[0], addresses) if step.contract == FRONT else None
                if (problem := code_problem(step.contract, code, beacon)) is not None:
                    missing.append(f"{step.id} at {step.address} {problem}")
            elif not await self._overtaken(pending, step) and not await has_happened(
                self._chain,
                step.contract,
                resolve(str(step.to), addresses),
                str(step.function),
                [resolve(one, addresses) for one in step.arguments],
                pending.sender,
            ):
                missing.append(f"{step.says}: no effect")
        if missing:
            raise NotAsRecorded(missing, next_step="Use another node and run this again.")

    async def _overtaken(self, pending: Pending, step: Step) -> bool:
        """Whether a later step of the plan replaces the effect of this one, as one recommendation does another."""
        later = pending.steps[pending.steps.index(step) + 1 :]
        return any(
            (one.function, one.to, one.arguments[:1]) == (step.function, step.to, step.arguments[:1]) for one in later
        )
