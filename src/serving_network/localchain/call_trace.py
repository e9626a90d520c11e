# SPDX-License-Identifier: Apache-2.0
"""Traces of calls: the tree of messages of a transaction, in the format of geth's callTracer."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, cast

from eth.abc import ComputationAPI, MessageAPI, OpcodeAPI, StateAPI, TransactionContextAPI
from eth.exceptions import Revert

from serving_network.contracts.reverts import standard_reason

from .evm import EvmState, MessageResult
from .execution import halt_text
from .interpreter import MNEMONICS, Computation
from .wire import address_text, hexed

CREATIONS = ("CREATE", "CREATE2")
CALLS = ("CALL", "CALLCODE", "DELEGATECALL", "STATICCALL", *CREATIONS)


@dataclass
class CallRecorder:
    """Records the messages of one transaction. `top_only` leaves out those that contracts send."""

    top_only: bool = False
    instruction: str = ""
    _open: list[dict[str, Any]] = field(default_factory=list)
    _top: dict[str, Any] = field(default_factory=dict)

    def enter(self, message: MessageAPI, parent: ComputationAPI | None) -> dict[str, Any]:
        """Record that a message begins."""
        kind = self.instruction if parent is not None else "CREATE" if message.is_create else "CALL"
        frame: dict[str, Any] = {
            "type": kind,
            "from": address_text(message.sender if parent is None else parent.msg.storage_address),
            "to": address_text(message.storage_address if message.is_create else message.code_address),
            "gas": hex(message.gas),
            "input": hexed(bytes(message.code if message.is_create else message.data)),
        }
        if kind != "STATICCALL":
            frame["value"] = hex(message.value)
        if not self._open:
            self._top = frame
        elif not self.top_only:
            self._open[-1].setdefault("calls", []).append(frame)
        self._open.append(frame)
        return frame

    def leave(self, frame: dict[str, Any], computation: ComputationAPI) -> None:
        """Record how the message ended."""
        self._open.pop()
        error = computation.error if computation.is_error else None
        frame["gasUsed"] = hex(computation.msg.gas - computation.get_gas_remaining())
        _note_end(frame, error, computation.output)

    def tree(self, outcome: MessageResult, gas: int) -> dict[str, Any]:
        """The top message with all others; its gas is that of the transaction."""
        top = self._top | {"gas": hex(gas), "gasUsed": hex(outcome.gas_used)}
        if not self._top:  # it ended before its first instruction
            _note_end(top, outcome.error, outcome.output)
        return top


def _note_end(frame: dict[str, Any], error: Any, output: bytes) -> None:
    if output:
        frame["output"] = hexed(output)
    if isinstance(error, Revert):
        frame["error"] = "execution reverted"
        if reason := standard_reason(output):
            frame["revertReason"] = reason
    elif error is not None:
        frame["error"] = halt_text(error)


def _noted(mnemonic: str, instruction: Any) -> Any:
    def run(computation: Any) -> None:
        computation.state.observer.instruction = mnemonic
        instruction(computation)

    return run


_OPCODES = dict(Computation.opcodes) | {
    number: cast(OpcodeAPI, _noted(MNEMONICS[number], instruction))
    for number, instruction in Computation.opcodes.items()
    if MNEMONICS[number] in CALLS
}


class CallTracedComputation(Computation):
    """Runs a message and reports it and those that it sends to the recorder of its state."""

    opcodes = _OPCODES

    @classmethod
    def apply_message(
        cls,
        state: StateAPI,
        message: MessageAPI,
        transaction_context: TransactionContextAPI,
        parent_computation: ComputationAPI | None = None,
    ) -> ComputationAPI:
        if message.is_create:  # reported by apply_create_message, which also pays for the code
            return super().apply_message(state, message, transaction_context, parent_computation)
        recorder: CallRecorder = cast(EvmState, state).observer
        frame = recorder.enter(message, parent_computation)
        computation = super().apply_message(state, message, transaction_context, parent_computation)
        recorder.leave(frame, computation)
        return computation

    @classmethod
    def apply_create_message(
        cls,
        state: StateAPI,
        message: MessageAPI,
        transaction_context: TransactionContextAPI,
        parent_computation: ComputationAPI | None = None,
    ) -> ComputationAPI:
        recorder: CallRecorder = cast(EvmState, state).observer
        frame = recorder.enter(message, parent_computation)
        computation = super().apply_create_message(state, message, transaction_context, parent_computation)
        recorder.leave(frame, computation)
        return computation
