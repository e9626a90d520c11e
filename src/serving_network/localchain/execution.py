# SPDX-License-Identifier: Apache-2.0
"""Messages whose changes are discarded: calls, gas estimates, traces, and the error if one fails."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from eth.exceptions import (
    ContractCreationCollision,
    FullStack,
    InsufficientFunds,
    InsufficientStack,
    InvalidInstruction,
    InvalidJumpDestination,
    OutOfBoundsRead,
    OutOfGas,
    ReservedBytesInCode,
    StackDepthLimit,
    VMError,
    WriteProtection,
)
from eth.vm.forks.cancun.computation import CANCUN_PRECOMPILES
from eth_typing import Address

from serving_network.contracts.reverts import standard_reason
from serving_network.errors import RpcError
from serving_network.hashing import keccak

from .evm import (
    MAX_INITCODE_SIZE,
    BlockContext,
    EvmState,
    ExternalMessage,
    MessageResult,
    created_address,
    execute,
    intrinsic_gas,
)
from .transactions import INVALID_INPUT, TYPES, AccessList
from .wire import (
    EXECUTION_REVERTED,
    address_text,
    hexed,
    invalid,
    read_access_list,
    read_address,
    read_bytes,
    read_quantity,
    read_slot,
    unsupported,
)
from .world import AccountState, StateReader

DEFAULT_CALL_GAS = 30_000_000
CALL_STIPEND = 2_300
ESTIMATE_TOLERANCE = 1024

UNSUPPORTED_FIELDS = ("blobVersionedHashes", "blobs", "maxFeePerBlobGas", "authorizationList")

_HALTS: dict[type[VMError], str] = {
    OutOfGas: "out of gas",
    InsufficientStack: "stack underflow",
    FullStack: "stack limit reached 1024 (1023)",
    InvalidJumpDestination: "invalid jump destination",
    InvalidInstruction: "invalid opcode",
    WriteProtection: "write protection",
    OutOfBoundsRead: "return data out of bounds",
    ReservedBytesInCode: "invalid code: must not begin with 0xef",
    ContractCreationCollision: "contract address collision",
    InsufficientFunds: "insufficient balance for transfer",
    StackDepthLimit: "max call depth exceeded",
}


@dataclass(frozen=True)
class View:
    """A state and the context of the block that a call runs in."""

    state: StateReader
    context: BlockContext


@dataclass(frozen=True)
class CallRequest:
    """A call as a client requested it. Fees are in wei per gas, None if the client set none."""

    sender: bytes
    to: bytes | None
    value: int
    data: bytes
    gas: int | None
    max_fee: int | None
    max_tip: int | None
    call: ExternalMessage

    @classmethod
    def read(cls, asked: Any, chain_id: int) -> CallRequest:
        """Parse the JSON object of `eth_call` and similar methods. Raises RpcError if it is invalid.

        What this chain would ignore is refused: fields of other types of transactions, and another chain's id.
        """
        if not isinstance(asked, Mapping):
            raise invalid("the transaction must be an object")
        foreign = [name for name in UNSUPPORTED_FIELDS if asked.get(name)]
        if foreign:
            raise unsupported(f"transactions with {foreign[0]}")
        if asked.get("type") is not None and read_quantity(asked["type"], "type") not in TYPES:
            raise unsupported(f"transactions of type {asked['type']}")
        if asked.get("chainId") is not None and (wanted := read_quantity(asked["chainId"], "chainId")) != chain_id:
            raise RpcError(INVALID_INPUT, f"chainId does not match node's (have={wanted}, want={chain_id})")

        def number(name: str) -> int | None:
            return None if asked.get(name) is None else read_quantity(asked[name], name)

        data, given = asked.get("input"), asked.get("data")
        if data is not None and given is not None and str(data).lower() != str(given).lower():
            raise invalid('both "data" and "input" are set and not equal')
        data = given if data is None else data
        gas_price, max_fee, max_tip = number("gasPrice"), number("maxFeePerGas"), number("maxPriorityFeePerGas")
        if gas_price is not None and (max_fee is not None or max_tip is not None):
            raise RpcError(INVALID_INPUT, "both gasPrice and (maxFeePerGas or maxPriorityFeePerGas) specified")
        sender = bytes(20) if asked.get("from") is None else read_address(asked["from"], "from")
        to = None if not asked.get("to") else read_address(asked["to"], "to")
        payload = b"" if data is None else read_bytes(data, "data")
        accesses = () if asked.get("accessList") is None else read_access_list(asked["accessList"])
        value = number("value") or 0
        return cls(
            sender=sender,
            to=to,
            value=value,
            data=payload,
            gas=number("gas"),
            max_fee=gas_price if gas_price is not None else max_fee,
            max_tip=gas_price if gas_price is not None else max_tip,
            call=ExternalMessage(sender, to, value, payload, 0, access_list=accesses),
        )

    def in_block(self, context: BlockContext, gas: int) -> tuple[ExternalMessage, BlockContext]:
        """The message with this gas limit, and its block context. Without a fee, gas costs nothing."""
        if not self.max_fee and not self.max_tip:
            return replace(self.call, gas=gas), replace(context, base_fee=0)
        fee = self.max_fee if self.max_fee is not None else context.base_fee + (self.max_tip or 0)
        tip = min(self.max_tip or 0, fee - context.base_fee)
        if tip < 0:
            raise RpcError(
                INVALID_INPUT,
                f"max fee per gas less than block base fee: maxFeePerGas: {fee}, baseFee: {context.base_fee}",
            )
        return replace(self.call, gas=gas, gas_price=context.base_fee + tip, tip=tip), context


def run(request: CallRequest, view: View, gas: int) -> MessageResult:
    """Run the message on the view and discard its changes. Raises RpcError if it cannot start."""
    call, context = request.in_block(view.context, gas)
    state = EvmState(view.state, context)
    ensure_startable(call, state)
    return execute(state, call)


def ensure_startable(call: ExternalMessage, state: StateReader) -> None:
    """Raises RpcError if a chain would reject the message before its first instruction."""
    needed = intrinsic_gas(call.to, call.data, call.access_list)
    if call.gas < needed:
        raise RpcError(INVALID_INPUT, f"intrinsic gas too low: have {call.gas}, want {needed}")
    if call.to is None and len(call.data) > MAX_INITCODE_SIZE:
        raise RpcError(
            INVALID_INPUT, f"max initcode size exceeded: code size {len(call.data)}, limit {MAX_INITCODE_SIZE}"
        )
    has, wants = state.account(call.sender).balance, call.gas * call.gas_price + call.value
    if has < wants:
        raise RpcError(
            INVALID_INPUT,
            f"insufficient funds for gas * price + value: address {address_text(call.sender)} have {has} want {wants}",
        )


def call(request: CallRequest, view: View) -> bytes:
    """The data that the message returns. Raises RpcError, with the revert data if there is any."""
    outcome = run(request, view, DEFAULT_CALL_GAS if request.gas is None else request.gas)
    if outcome.error is not None:
        raise failure(outcome)
    return outcome.output


def estimate(request: CallRequest, view: View) -> int:
    """The gas limit that the message needs, now and in the next second: at most 0.1 % above the minimum.

    A contract that stores the time stores nothing new in the second in which it was last called. Its call may be mined
    a second later, and must not run out of gas then. Raises RpcError if the message fails with the highest gas limit.
    """
    enough, read_time = _estimate_at(request, view)
    if not read_time:
        return enough
    later = replace(view, context=replace(view.context, timestamp=view.context.timestamp + 1))
    if run(request, later, enough).success:
        return enough
    try:
        return max(enough, _estimate_at(request, later)[0])
    except RpcError:  # what works now only
        return enough


def _estimate_at(request: CallRequest, view: View) -> tuple[int, bool]:
    """The gas limit that the message needs at the time of the view, and whether it read that time.

    A message can need more gas than it uses: refunds are paid only at its end, and a call passes on at most 63/64 of
    the remaining gas.
    """
    ceiling = request.gas if request.gas is not None else max(view.context.gas_limit, DEFAULT_CALL_GAS)
    price = request.max_fee or 0
    if request.max_fee is None and request.max_tip:
        price = view.context.base_fee + request.max_tip
    if price:
        affordable = (view.state.account(request.sender).balance - request.value) // price
        ceiling = min(ceiling, max(affordable, 0))
    needed = intrinsic_gas(request.to, request.data, request.call.access_list)
    if ceiling < needed:
        raise RpcError(INVALID_INPUT, f"gas required exceeds allowance ({ceiling})")
    outcome = run(request, view, ceiling)
    if outcome.error is not None:
        if isinstance(outcome.error, OutOfGas):
            raise RpcError(INVALID_INPUT, f"gas required exceeds allowance ({ceiling})")
        raise failure(outcome)
    used = outcome.gas_used + outcome.gas_refunded
    limits = _Limits(request, view, ceiling)
    if used < outcome.gas_needed < ceiling and limits.suffices(outcome.gas_needed):
        limits.suffices(outcome.gas_needed - 1)
    if limits.suffices(used):
        return used, outcome.read_time
    too_low, enough = used, ceiling
    likely = min((used + CALL_STIPEND) * 64 // 63 + 1, ceiling)
    while enough - too_low > max(1, too_low // ESTIMATE_TOLERANCE):
        if limits.suffices(likely):
            enough = likely
        else:
            too_low = likely
        likely = (too_low + enough) // 2
    return enough, outcome.read_time


@dataclass
class _Limits:
    """Which gas limits suffice for a message. What a run has shown is not run again: with more gas nothing fails."""

    request: CallRequest
    view: View
    enough: int
    too_low: int = 0

    def suffices(self, gas: int) -> bool:
        if self.too_low < gas < self.enough:
            if run(self.request, self.view, gas).success:
                self.enough = gas
            else:
                self.too_low = gas
        return gas >= self.enough


class _Accesses(EvmState):
    """A state that notes which addresses and slots became warm, also in calls that failed."""

    def __init__(self, base: StateReader, context: BlockContext) -> None:
        super().__init__(base, context)
        self.seen: dict[bytes, set[int]] = {}

    def mark_address_warm(self, address: Address) -> None:
        self.seen.setdefault(address, set())
        super().mark_address_warm(address)

    def mark_storage_warm(self, address: Address, slot: int) -> None:
        self.seen.setdefault(address, set()).add(slot)
        super().mark_storage_warm(address, slot)


def access_list_of(request: CallRequest, view: View) -> tuple[AccessList, MessageResult]:
    """The access list with which the message reads nothing cold, and the result of the message with that list.

    Addresses that are warm anyway are listed only with slots. A list changes the gas, which a contract may read, so the
    message runs again until the list stays the same. Raises RpcError if the message cannot start.
    """
    accesses = request.call.access_list
    while True:
        call, context = replace(request, call=replace(request.call, access_list=accesses)).in_block(
            view.context, DEFAULT_CALL_GAS if request.gas is None else request.gas
        )
        state = _Accesses(view.state, context)
        ensure_startable(call, state)
        created = created_address(call.sender, state.account(call.sender).nonce)
        outcome = execute(state, call)
        warm = {call.sender, call.to or created, context.coinbase, *CANCUN_PRECOMPILES}
        seen = {address: slots for address, slots in state.seen.items() if slots or address not in warm}
        found = tuple(sorted((address, tuple(sorted(slots))) for address, slots in seen.items()))
        if found == accesses:
            return accesses, outcome
        accesses = found


def failure(outcome: MessageResult) -> RpcError:
    """The error for a message that failed, with the text and the code that geth uses."""
    if outcome.reverted:
        reason = standard_reason(outcome.output)
        message = f"execution reverted: {reason}" if reason else "execution reverted"
        return RpcError(EXECUTION_REVERTED, message, hexed(outcome.output))
    return RpcError(INVALID_INPUT, halt_text(outcome.error))


def halt_text(error: VMError | None) -> str:
    """The reason why a message failed without a revert, in geth's words."""
    if isinstance(error, OutOfGas) and "code size" in str(error):
        return "max code size exceeded"
    return next((text for kind, text in _HALTS.items() if isinstance(error, kind)), "execution failed")


class Overridden:
    """A state with values replaced for one call: the state overrides of `eth_call`."""

    def __init__(self, base: StateReader, overrides: Any) -> None:
        if not isinstance(overrides, Mapping):
            raise invalid("state overrides must be an object")
        self._base = base
        self._accounts: dict[bytes, AccountState] = {}
        self._codes: dict[bytes, bytes] = {}
        self._slots: dict[tuple[bytes, int], int] = {}
        self._replaced: set[bytes] = set()
        for text, wanted in overrides.items():
            self._override(read_address(text), wanted)

    def _override(self, address: bytes, wanted: Any) -> None:
        account = self._base.account(address)
        if wanted.get("balance") is not None:
            account = account._replace(balance=read_quantity(wanted["balance"], "balance"))
        if wanted.get("nonce") is not None:
            account = account._replace(nonce=read_quantity(wanted["nonce"], "nonce"))
        if wanted.get("code") is not None:
            code = read_bytes(wanted["code"], "code")
            account = account._replace(code_hash=keccak(code))
            self._codes[account.code_hash] = code
        self._accounts[address] = account
        if wanted.get("state") is not None:
            self._replaced.add(address)
        for slot, value in (wanted.get("state") or wanted.get("stateDiff") or {}).items():
            self._slots[address, read_slot(slot)] = int.from_bytes(read_bytes(value, "storage value", 32), "big")

    def account(self, address: bytes) -> AccountState:
        return self._accounts.get(address) or self._base.account(address)

    def slot(self, key: tuple[bytes, int]) -> int:
        if key in self._slots:
            return self._slots[key]
        return 0 if key[0] in self._replaced else self._base.slot(key)

    def code(self, code_hash: bytes) -> bytes:
        return self._codes[code_hash] if code_hash in self._codes else self._base.code(code_hash)
