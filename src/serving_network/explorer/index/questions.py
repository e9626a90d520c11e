# SPDX-License-Identifier: Apache-2.0
"""Ask contracts what no event tells, as of the block of the event.

A node that keeps no old states refuses such a question. It is then asked about a later block, which the answer names.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from serving_network.chain.node import from_hex
from serving_network.contracts import load
from serving_network.contracts.codec import MalformedData
from serving_network.contracts.reverts import explain_refusal
from serving_network.errors import ContractError, RpcError

if TYPE_CHECKING:
    from serving_network.chain.reading import AsyncReader

RECENT_BLOCKS: Final = 64
"""States that every node keeps."""


@dataclass(frozen=True, slots=True)
class Question:
    """A view of a contract with the ABI `abi`, as of a block."""

    abi: str
    address: str
    function: str
    arguments: tuple[Any, ...]
    block: int


_CONTRACTS_FAULT: Final = ("out of gas", "gas required", "opcode", "invalid jump", "stack", "execution")


def failed_in_contract(refusal: RpcError) -> bool:
    """Whether a call failed in the contract without a revert, which contracts of strangers can do at will."""
    return any(word in refusal.message.lower() for word in _CONTRACTS_FAULT)


class Answer(NamedTuple):
    """The result of a view, None if the contract does not answer, and the block as of which it was read."""

    value: Any
    block: int


class Asker:
    """Asks one chain. It remembers that a node keeps no old states, to ask no more than necessary."""

    def __init__(self, chain: AsyncReader) -> None:
        self._chain = chain
        self._keeps_states = True

    async def ask(self, questions: Sequence[Question], last: int) -> dict[Question, Answer]:
        """The answers as of each question's block, else as of the newest block. `last` is the last block of the step.

        Raises NodeFailure if the node answers none of them.
        """
        asked = list(dict.fromkeys(questions))
        if not asked:
            return {}
        found: dict[Question, Answer] = {}
        head = last if self._keeps_states else await self._chain.block_number()
        recent = [one for one in asked if self._keeps_states or one.block > head - RECENT_BLOCKS]
        if await self._ask(recent, None, found):
            self._keeps_states = False
        rest = [one for one in asked if one not in found]
        if rest:
            head = await self._chain.block_number()
            if failures := await self._ask(rest, head, found):
                raise failures[0]
        return found

    async def _ask(
        self, questions: Sequence[Question], block: int | None, found: dict[Question, Answer]
    ) -> list[RpcError]:
        """Ask as of a block, or of each question's own, and add what is answered. Returns the node's refusals."""
        calls = []
        for one in questions:
            data = load(one.abi).interface.encode(one.function, *one.arguments)
            at = one.block if block is None else block
            calls.append(("eth_call", [{"to": one.address, "data": "0x" + data.hex()}, hex(at)]))
        refused = []
        for one, result in zip(questions, await self._chain.batch(calls), strict=True):
            at = one.block if block is None else block
            if isinstance(result, RpcError):
                reason = explain_refusal(result)
                if isinstance(reason, ContractError) or failed_in_contract(result):
                    found[one] = Answer(None, at)
                else:
                    refused.append(result)
                continue
            try:
                value = load(one.abi).interface.decode_result(one.function, from_hex(result))
            except MalformedData:
                value = None
            found[one] = Answer(value, at)
        return refused
