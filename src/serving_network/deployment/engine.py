# SPDX-License-Identifier: Apache-2.0
"""Send the steps of a plan, so that a kill at any moment does no harm.

What makes it safe: a step's signed transaction is in the journal, on disk, before it is broadcast. A later run finds
it there and looks for its receipt; without one it broadcasts the very same bytes, which the chain takes once at most.
Another transaction is signed for a step only when the former can never be mined, because its nonce is used up or it
was mined and failed. And nothing counts as done before it is as deep in the chain as the network's file asks for: if
the chain is reorganised, the step goes back to being sent.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Literal

from serving_network.chain.connection import AsyncConnection
from serving_network.chain.node import from_quantity
from serving_network.chain.receipts import Receipt
from serving_network.chain.sender import Fees
from serving_network.deployment.bytecode import FRONT, artifact_hash, code_problem
from serving_network.deployment.calls import step_data
from serving_network.deployment.effects import has_happened
from serving_network.deployment.errors import DeploymentError, NotAsRecorded, NotTheOwner, PlanRefused
from serving_network.deployment.record import Mined, Pending, Record, RecordFile, SignedAttempt, Step
from serving_network.deployment.steps import created_address, known_addresses, resolve
from serving_network.errors import ServingError, TransactionDropped, TransactionPending, WrongChain
from serving_network.messages.transactions import SignedTransaction
from serving_network.signing import Signer

log = logging.getLogger(__name__)

LOOK_SECONDS = 0.5

Progress = Callable[[Step, Literal["sent", "mined"]], None]


async def check_chain(chain: AsyncConnection, record: Record) -> None:
    """Make sure that the node serves the record's chain. Raises WrongChain for another id, and PlanRefused for
    another chain that claims the same id."""
    if chain.chain_id != record.chain_id:
        raise WrongChain(record.chain_id, chain.chain_id, chain.where)
    genesis = await genesis_hash(chain)
    if genesis != record.genesis:
        raise PlanRefused(
            f"{chain.where} says that it serves chain {record.chain_id}, but it is another chain of that number.",
            cause=f"Its first block is {genesis}, the record of {record.network} has {record.genesis}.",
            next_step="Use a node of the right chain, or another name for this network.",
        )


async def check_ready(chain: AsyncConnection, record: Record, what: str, subject: str) -> None:
    """Make sure that the chain is the record's and that no other work is under way. Raises WrongChain and
    PlanRefused."""
    await check_chain(chain, record)
    pending = record.pending
    if pending is not None and (pending.what, pending.subject) != (what, subject):
        raise PlanRefused(
            f"A {pending.what} of {pending.subject} is not finished.",
            next_step=f"serving {_command(pending)} --network {record.network}, then this again.",
        )


def _command(pending: Pending) -> str:
    match pending.what:
        case "deploy":
            return "deploy apply"
        case "upgrade":
            return f"upgrade apply {pending.subject}"
        case "rollback":
            return f"upgrade rollback {pending.subject}"
        case "recommend":
            return f"registry recommend {pending.subject}"
        case what:
            return f"handover {'apply' if what == 'handover' else 'accept'}"


async def genesis_hash(chain: AsyncConnection) -> str:
    """The hash of block 0."""
    return str((await chain.block(0))["hash"])


class Engine:
    """Carries out what is pending in a record, from wherever it stands.

    With `estimate` every step's gas is asked of the node; without, the step's own limit is used. `timeout` is in
    seconds and for one step; without `fees` the node's suggestion is paid.
    """

    def __init__(
        self,
        chain: AsyncConnection,
        account: Signer,
        file: RecordFile,
        *,
        confirmations: int = 1,
        estimate: bool = True,
        timeout: float = 300,
        fees: Fees | None = None,
        progress: Progress | None = None,
    ) -> None:
        self._chain = chain
        self._account = account
        self._file = file
        self._confirmations = confirmations
        self._estimate = estimate
        self._timeout = timeout
        self._fees = fees
        self._progress = progress or (lambda _step, _event: None)

    async def run(self) -> Pending:
        """Send what is not sent and wait until all is final; returns the finished work, which is still pending in
        the record: whoever asked for it writes the outcome down.

        Raises NotTheOwner for another key than the one that began, PlanRefused when the package now holds other
        code than when the work began, and whatever stops a step; calling it again goes on from there.
        """
        pending = self._file.record.pending
        if pending is None:
            raise PlanRefused("There is nothing under way.", next_step="Make a plan first.")
        if pending.sender != self._account.address:
            raise NotTheOwner(
                f"This work was begun with {pending.sender}, not with {self._account.address}.",
                owner=pending.sender,
                next_step=f"Run this again with the key of {pending.sender}.",
            )
        self._check_artifacts(pending)
        while True:
            for step in pending.steps:
                if step.mined is None:
                    await self._do(step)
            if await self._all_final(pending):
                break
        await self._check_effects(pending)
        return pending

    def _check_artifacts(self, pending: Pending) -> None:
        for step in pending.steps:
            if step.action != "create" or step.mined is not None:
                continue
            now = artifact_hash(step.contract)
            if step.artifact_hash not in (None, now):
                raise PlanRefused(
                    f"{step.id} was planned with another build of {step.contract}.",
                    cause=f"Planned: {step.artifact_hash}, now: {now}.",
                    next_step="Finish with the release that it was begun with.",
                )

    async def _do(self, step: Step) -> None:
        receipt = await self._receipt_of_earlier(step)
        while receipt is None:
            signed = await self._alive(step) or await self._sign(step)
            try:
                await self._chain.broadcast(signed)
                self._progress(step, "sent")
                receipt = await self._chain.wait(*(one.signed for one in step.attempts), timeout=self._timeout)
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
        """The receipt of an attempt that succeeded. Failed ones are forgotten: they can have no effect any more."""
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
        """The newest attempt, if it can still be mined; with a higher fee if its own has become too low."""
        if not step.attempts:
            return None
        newest = step.attempts[-1].signed
        if await self._used(newest.nonce, "latest"):
            await self._forget_unless_final(step, newest.nonce)
            return None
        base_fee = (await self._chain.block()).get("baseFeePerGas")
        if base_fee is not None and from_quantity(base_fee) > newest.max_fee_per_gas:
            newest = await self._chain.replace(self._account, newest)
            self._journal(step, newest)
        return newest

    async def _used(self, nonce: int, block: int | str) -> bool:
        place = hex(block) if isinstance(block, int) else block
        count = await self._chain.rpc("eth_getTransactionCount", [self._account.address, place])
        return from_quantity(count) > nonce

    async def _forget_unless_final(self, step: Step, nonce: int) -> None:
        """Give up attempts whose nonce another transaction took, once that one is as deep as a step must be: until
        then a reorganisation could bring them back to life, beside whatever was sent in their place."""
        deep = await self._chain.block_number() - self._confirmations + 1
        if deep < 0 or not await self._used(nonce, deep):
            raise DeploymentError(
                f"Another transaction of {self._account.address} took nonce {nonce}, which was "
                f"meant for {step.id}, and is not final yet.",
                next_step="Run this again when it is: it goes on where it stopped.",
            )
        self._forget(step)

    async def _sign(self, step: Step) -> SignedTransaction:
        addresses = known_addresses(self._file.record)
        to = None if step.to is None else resolve(step.to, addresses)
        signed = await self._chain.prepare(
            self._account, to, step_data(step, addresses), gas=None if self._estimate else step.gas, fees=self._fees
        )
        if step.action == "create":
            address = created_address(self._account.address, signed.nonce)
            if await self._chain.code(address):
                self._chain.release(signed)
                raise DeploymentError(
                    f"{step.id} would land at {address}, where there is code already.",
                    cause="The node is behind: it does not count all transactions of this key.",
                    next_step="Use another node, or wait until this one is in step.",
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
                [f"{step.id} landed at {receipt.contract_address} instead of {step.address}"],
                next_step="Ask another node: this one contradicts itself.",
            )
        step.mined = Mined(
            transaction=receipt.transaction_hash,
            sender=self._account.address,
            nonce=nonce,
            block=receipt.block_number,
            block_hash=receipt.block_hash,
            gas_used=receipt.gas_used,
        )
        self._file.save()
        self._progress(step, "mined")

    async def _all_final(self, pending: Pending) -> bool:
        """Wait until every step is deep enough; False as soon as one of them is no longer where it was mined."""
        deadline = time.monotonic() + self._timeout
        while True:
            if await self._undone(pending):
                return False
            head = await self._chain.block_number()
            waiting = [one for one in pending.steps if one.mined and head - one.mined.block + 1 < self._confirmations]
            if not waiting:
                return True
            if time.monotonic() + LOOK_SECONDS > deadline:
                raise TransactionPending(
                    f"Everything is sent, but {waiting[-1].id} is not {self._confirmations} blocks deep after "
                    f"{self._timeout:.0f} s.",
                    transaction=waiting[-1].attempts[-1].signed.hash,
                    next_step="Run this again later: it goes on where it stopped.",
                )
            await asyncio.sleep(LOOK_SECONDS)

    async def _undone(self, pending: Pending) -> bool:
        """Whether a reorganisation has taken a step back; it is then marked as not done."""
        for step in pending.steps:
            receipt = step.mined and await self._chain.receipt(step.mined.transaction)
            if step.mined is None or receipt is None or receipt.block_hash != step.mined.block_hash:
                log.warning("%s was undone by a reorganisation of the chain; it is sent again", step.id)
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
                missing.append(f"{step.says}: without effect")
        if missing:
            raise NotAsRecorded(missing, next_step="Ask another node, then run this again.")

    async def _overtaken(self, pending: Pending, step: Step) -> bool:
        """Whether a later step of the same plan undoes this one, as one recommendation does another."""
        later = pending.steps[pending.steps.index(step) + 1 :]
        return any(
            (one.function, one.to, one.arguments[:1]) == (step.function, step.to, step.arguments[:1]) for one in later
        )
