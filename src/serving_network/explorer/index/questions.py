# SPDX-License-Identifier: Apache-2.0
"""Ask for what no event tells, as of the block of the event: views of contracts, and words of their storage.

A node that keeps no old states refuses such a question. It is then asked about a later block, which the answer names.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from serving_network.chain.node import from_hex, from_word
from serving_network.contracts import load
from serving_network.contracts.codec import MalformedData
from serving_network.contracts.reverts import explain_refusal
from serving_network.errors import ContractError, RpcError

if TYPE_CHECKING:
    from serving_network.chain.reading import AsyncReader
    from serving_network.chain.transport import RpcCall

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

    def asked(self, block: int) -> RpcCall:
        """The request to a node, as of a block."""
        data = load(self.abi).interface.encode(self.function, *self.arguments)
        return "eth_call", [{"to": self.address, "data": "0x" + data.hex()}, hex(block)]

    def value(self, answer: Any) -> Any:
        """The result in the node's answer. Raises MalformedData if the contract did not answer as the ABI says."""
        return load(self.abi).interface.decode_result(self.function, from_hex(answer))


@dataclass(frozen=True, slots=True)
class Word:
    """A word of a contract's storage, as of a block."""

    address: str
    slot: bytes
    block: int

    def asked(self, block: int) -> RpcCall:
        """The request to a node, as of a block."""
        return "eth_getStorageAt", [self.address, "0x" + self.slot.hex(), hex(block)]

    @staticmethod
    def value(answer: Any) -> int:
        """The word in the node's answer."""
        return from_word(answer)


Asked = Question | Word

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

    async def ask(self, questions: Sequence[Asked], last: int) -> dict[Asked, Answer]:
        """The answers as of each question's block, else as of the newest block. `last` is the last block of the step.

        A node that shows no storage answers None for words. Raises NodeFailure if it answers no view.
        """
        asked = list(dict.fromkeys(questions))
        if not asked:
            return {}
        found: dict[Asked, Answer] = {}
        head = last if self._keeps_states else await self._chain.block_number()
        recent = [one for one in asked if self._keeps_states or one.block > head - RECENT_BLOCKS]
        if any(isinstance(one, Question) for one in await self._ask(recent, None, found)):
            self._keeps_states = False
        rest = [one for one in asked if one not in found]
        if rest:
            head = await self._chain.block_number()
            for one, refusal in (await self._ask(rest, head, found)).items():
                if isinstance(one, Question):
                    raise refusal
                found[one] = Answer(None, head)
        return found

    async def _ask(
        self, questions: Sequence[Asked], block: int | None, found: dict[Asked, Answer]
    ) -> dict[Asked, RpcError]:
        """Ask as of a block, or of each question's own, and add what is answered. Returns the node's refusals."""
        blocks = [one.block if block is None else block for one in questions]
        answers = await self._chain.batch([one.asked(at) for one, at in zip(questions, blocks, strict=True)])
        refused: dict[Asked, RpcError] = {}
        for one, at, answer in zip(questions, blocks, answers, strict=True):
            if isinstance(answer, RpcError):
                reason = explain_refusal(answer)
                if isinstance(reason, ContractError) or failed_in_contract(answer):
                    found[one] = Answer(None, at)
                else:
                    refused[one] = answer
                continue
            try:
                value = one.value(answer)
            except MalformedData:
                value = None
            found[one] = Answer(value, at)
        return refused
