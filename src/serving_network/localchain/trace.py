# SPDX-License-Identifier: Apache-2.0
"""Traces: every instruction of a message with its gas cost, in the format of geth's struct logger."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from eth.abc import ComputationAPI, MessageAPI, StateAPI, TransactionContextAPI

from serving_network.errors import RpcError
from serving_network.untrusted import printable

from .call_trace import CALLS, CREATIONS, CallRecorder, CallTracedComputation
from .core import Chain, Location, call_of, note_beacon_root
from .evm import EvmState, ExternalMessage, MessageResult, execute
from .execution import DEFAULT_CALL_GAS, CallRequest, Overridden, ensure_startable, halt_text
from .interpreter import MNEMONICS, Computation
from .methods import BlockChoice, Methods
from .transactions import INVALID_INPUT
from .wire import hexed, invalid, read_hash, unsupported


@dataclass(frozen=True)
class TraceOptions:
    """What a trace contains."""

    stack: bool = True
    storage: bool = True
    memory: bool = False
    return_data: bool = False

    @classmethod
    def read(cls, asked: Any) -> TraceOptions:
        if asked is None:
            return cls()
        if not isinstance(asked, Mapping):
            raise invalid("trace options must be an object")
        return cls(
            stack=not asked.get("disableStack", False),
            storage=not asked.get("disableStorage", False),
            memory=bool(asked.get("enableMemory", False)),
            return_data=bool(asked.get("enableReturnData", False)),
        )


@dataclass
class Recorder:
    """Records the steps of one message."""

    options: TraceOptions
    steps: list[dict[str, Any]] = field(default_factory=list)
    _storage: dict[bytes, dict[str, str]] = field(default_factory=dict)
    _calling: list[tuple[dict[str, Any], Any]] = field(default_factory=list)

    def before(self, computation: Any, position: int, mnemonic: str) -> dict[str, Any]:
        """Record an instruction that is about to run."""
        stack = computation._stack.values
        step: dict[str, Any] = {
            "pc": position,
            "op": mnemonic,
            "gas": computation._gas_meter.gas_remaining,
            "gasCost": 0,
            "depth": computation.msg.depth + 1,
        }
        if self.options.stack:
            step["stack"] = [hex(_number(item)) for item in stack]
        if self.options.memory:
            memory = bytes(computation._memory._bytes)
            step["memory"] = [memory[start : start + 32].hex() for start in range(0, len(memory), 32)]
        if self.options.return_data:
            step["returnData"] = "0x" + bytes(computation.return_data).hex()
        if self.options.storage and mnemonic in ("SLOAD", "SSTORE") and stack:
            self._note_slot(computation, mnemonic, stack, step)
        self.steps.append(step)
        return step

    def _note_slot(self, computation: Any, mnemonic: str, stack: list[Any], step: dict[str, Any]) -> None:
        address, slot = computation.msg.storage_address, _number(stack[-1])
        if mnemonic == "SSTORE" and len(stack) < 2:
            return
        value = computation.state.get_storage(address, slot) if mnemonic == "SLOAD" else _number(stack[-2])
        seen = self._storage.setdefault(address, {})
        seen[f"{slot:064x}"] = f"{value:064x}"
        step["storage"] = dict(seen)

    def calling(self, step: dict[str, Any], parent: Any) -> None:
        """Record that the instruction may send a message."""
        self._calling.append((step, parent))

    def entered(self, gas: int) -> None:
        """Record the gas of a new message, from which the cost of the calling instruction follows."""
        if not self._calling:
            return
        step, parent = self._calling[-1]
        cost = step["gas"] - parent._gas_meter.gas_remaining
        step["gasCost"] = cost - gas if step["op"] in CREATIONS else cost

    def after(self, step: dict[str, Any], computation: Any) -> None:
        """Record that the instruction finished or failed."""
        if self._calling and self._calling[-1][0] is step:
            self._calling.pop()
        if not step["gasCost"]:
            step["gasCost"] = step["gas"] - computation._gas_meter.gas_remaining


def _traced(mnemonic: str, instruction: Any) -> Any:
    """The instruction, with calls of the recorder before and after it."""
    calls = mnemonic in CALLS

    def run(computation: Any) -> None:
        recorder: Recorder = computation.state.observer
        step = recorder.before(computation, computation.code.program_counter - 1, mnemonic)
        if calls:
            recorder.calling(step, computation)
        try:
            instruction(computation)
        finally:
            recorder.after(step, computation)

    return run


_TRACED_OPCODES = {
    number: _traced(MNEMONICS[number], instruction) for number, instruction in Computation.opcodes.items()
}


class TracedComputation(Computation):
    """Runs a message and reports it to the recorder of its state."""

    opcodes = _TRACED_OPCODES

    @classmethod
    def apply_computation(
        cls,
        state: StateAPI,
        message: MessageAPI,
        transaction_context: TransactionContextAPI,
        parent_computation: ComputationAPI | None = None,
    ) -> ComputationAPI:
        cast(EvmState, state).observer.entered(message.gas)
        return super().apply_computation(state, message, transaction_context, parent_computation)


@dataclass(frozen=True)
class TraceMethods:
    """Methods that trace mined transactions and calls."""

    chain: Chain
    choice: BlockChoice

    def methods(self) -> Methods:
        return {"debug_traceTransaction": self.transaction, "debug_traceCall": self.call}

    def transaction(self, transaction_hash: Any, asked: Any = None) -> dict[str, Any]:
        location = self.chain.locate(read_hash(transaction_hash))
        if location is None:
            raise RpcError(INVALID_INPUT, "transaction not found")
        state = self._state_before(location)
        return _traced_message(state, call_of(location.transaction, location.block.base_fee), asked)

    def _state_before(self, location: Location) -> EvmState:
        block = location.block
        state = EvmState(self.chain.world.at(block.version - 1), self.chain.context_of(block))
        note_beacon_root(state, block.timestamp)
        for earlier in block.transactions[: location.index]:
            execute(state, call_of(earlier, block.base_fee))
        return state

    def call(self, asked: Any, block: Any = "latest", options: Any = None) -> dict[str, Any]:
        request = CallRequest.read(asked, self.chain.chain_id)
        view = self.choice.view(block)
        overrides = options.get("stateOverrides") if options else None
        state = Overridden(view.state, overrides) if overrides else view.state
        gas = DEFAULT_CALL_GAS if request.gas is None else request.gas
        message, context = request.in_block(view.context, gas)
        evm = EvmState(state, context)
        ensure_startable(message, evm)
        return _traced_message(evm, message, options)


def _traced_message(state: EvmState, message: ExternalMessage, asked: Any) -> dict[str, Any]:
    tracer = asked.get("tracer") if isinstance(asked, Mapping) else None
    if not tracer:
        recorder = Recorder(TraceOptions.read(asked))
        state.observer = recorder
        return _trace_json(execute(state, message, TracedComputation), recorder)
    options = asked.get("tracerConfig") or {}
    if tracer != "callTracer" or not isinstance(options, Mapping) or options.get("withLog"):
        raise unsupported(f"the tracer {printable(tracer)} with {printable(options)}")
    calls = CallRecorder(top_only=options.get("onlyTopCall") is True)
    state.observer = calls
    return calls.tree(execute(state, message, CallTracedComputation), message.gas)


def _trace_json(outcome: MessageResult, recorder: Recorder) -> dict[str, Any]:
    steps = recorder.steps
    if outcome.error is not None and not outcome.reverted and steps:
        steps[-1]["error"] = halt_text(outcome.error)
    return {
        "gas": outcome.gas_used,
        "failed": not outcome.success,
        "returnValue": hexed(outcome.output),
        "structLogs": steps,
    }


def _number(item: Any) -> int:
    return item if isinstance(item, int) else int.from_bytes(item, "big")
