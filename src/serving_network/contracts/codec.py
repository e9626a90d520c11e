# SPDX-License-Identifier: Apache-2.0
"""Encode and decode the calls, results, events and errors of a contract.

| ABI | Python |
|---|---|
| uint, int | int, exact |
| address | str with checksum; encoding also accepts all lower or upper case |
| bool, string, bytes, bytesN | bool, str, bytes, bytes of exactly N |
| T[] | list |
| struct | dict by component name; encoding also accepts a tuple |

Text that is not UTF-8 is decoded with its invalid bytes written as `\\xNN`, so that one provider's broken url does not
hide an entire listing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from serving_network.addresses import is_hex_address, to_checksum_address
from serving_network.contracts.values import AbiEntry, Kind, Unusual, kind_of, sequence_of
from serving_network.errors import InvalidInput, NodeFailure
from serving_network.hashing import keccak
from serving_network.untrusted import printable, quoted

if TYPE_CHECKING:
    from serving_network.contracts.reference import Reference


class MalformedData(NodeFailure):
    """Bytes from a node do not match the ABI."""


class UnencodableArguments(InvalidInput):
    """Arguments do not fit the function: their number, type or range is wrong."""


class Decoded(NamedTuple):
    """A function call or an error: `args` by name, in the order of the ABI."""

    name: str
    args: dict[str, Any]


@dataclass(frozen=True, slots=True)
class DecodedEvent:
    """An event: `args` by name, in the order of the ABI; an indexed string or list is its 32-byte hash.

    `address` is the emitting contract. The position on the chain is None if the log does not contain it.
    """

    name: str
    args: dict[str, Any]
    address: str
    block_number: int | None = None
    transaction_hash: str | None = None
    log_index: int | None = None


class Interface:
    """The codec of one contract's ABI.

    Raises `ValueError` for an ambiguous ABI: two functions with the same name that have the same number of arguments,
    or different results.
    """

    def __init__(self, abi: Iterable[AbiEntry]) -> None:
        self._calls: dict[tuple[str, int], _Call] = {}
        self._calls_by_selector: dict[bytes, _Call] = {}
        self._results: dict[str, _Values] = {}
        self._errors = dict(_STANDARD_ERRORS)
        self._events: dict[bytes, _Event] = {}
        self._constructor = _Values([])
        for entry in abi:
            match entry["type"]:
                case "function":
                    self._add_function(entry)
                case "error":
                    error = _Call(entry)
                    self._errors[error.selector] = error
                case "event":
                    event = _Event(entry)
                    self._events[event.topic] = event
                case "constructor":
                    self._constructor = _Values(entry["inputs"])

    def _add_function(self, entry: AbiEntry) -> None:
        call, result = _Call(entry), _Values(entry["outputs"])
        key = call.name, len(call.inputs.types)
        if key in self._calls:
            raise ValueError(f"{call.name} is declared twice with {key[1]} arguments")
        if self._results.setdefault(call.name, result).types != result.types:
            raise ValueError(f"{call.name} is declared with different results")
        self._calls[key] = call
        self._calls_by_selector[call.selector] = call

    def selector(self, name: str, arguments: int | None = None) -> bytes:
        """The 4-byte selector of function `name`. `arguments`, their number, is needed only for an overloaded name.

        Raises `UnencodableArguments` if there is no such function or more than one.
        """
        return self._call(name, arguments).selector

    def topic(self, name: str) -> bytes:
        """The first topic (32 bytes) of event `name`. Raises `KeyError` if there is no such event."""
        for event in self._events.values():
            if event.name == name:
                return event.topic
        raise KeyError(name)

    def encode(self, name: str, *args: Any) -> bytes:
        """Calldata for `name(*args)`; overloads are distinguished by the number of arguments.

        Raises `UnencodableArguments`.
        """
        call = self._call(name, len(args))
        return call.selector + call.inputs.encode(args, name)

    def encode_constructor(self, *args: Any) -> bytes:
        """The constructor arguments, which follow the bytecode. Raises `UnencodableArguments`."""
        return self._constructor.encode(args, "the constructor")

    def decode_result(self, name: str, data: bytes) -> Any:
        """The result of function `name`: None, its only value, or a tuple of its values.

        Raises `MalformedData`, and `UnencodableArguments` if there is no such function.
        """
        values = self._results.get(name)
        if values is None:
            raise _unknown_function(name)
        if not data and values.types:
            raise MalformedData(
                f"{name} returned no data.",
                cause="There is no contract at this address, or it is another contract.",
                next_step="Compare the network and the address with the deployment's record.",
            )
        result = values.decode(data, f"the result of {name}")
        match result:
            case ():
                return None
            case (single,):
                return single
            case _:
                return result

    def decode_call(self, data: bytes) -> Decoded | None:
        """The function and arguments in calldata; None for an unknown selector. Raises `MalformedData`."""
        call = self._calls_by_selector.get(data[:4])
        if call is None:
            return None
        return Decoded(call.name, call.inputs.decode_named(data[4:], f"a call of {call.name}"))

    def decode_error(self, data: bytes) -> Decoded | None:
        """The error in revert data; None if the data is empty, incomplete or not an error of this contract.

        Includes the two errors of every contract: `Error(message)` and `Panic(code)`.
        """
        error = self._errors.get(data[:4])
        if error is None:
            return None
        try:
            return Decoded(error.name, error.inputs.decode_named(data[4:], error.name))
        except MalformedData:
            return None

    def decode_event(self, address: str, topics: Sequence[bytes], data: bytes) -> DecodedEvent | None:
        """The event in a log; None if the contract does not declare it. Raises `MalformedData`."""
        event = self._events.get(topics[0]) if topics else None
        if event is None:
            return None
        return DecodedEvent(event.name, event.decode(topics, data), to_checksum_address(address))

    def decode_log(self, log: Mapping[str, Any]) -> DecodedEvent | None:
        """The event in a JSON-RPC log, with hex strings or bytes; None if the contract does not declare it.

        Raises `MalformedData`, also for a log without address, topics or data.
        """
        try:
            topics = [_word(topic) for topic in _list(log["topics"])]
            found = self.decode_event(log["address"], topics, _bytes(log["data"]))
            if found is None:
                return None
            block, transaction, index = (log.get(key) for key in ("blockNumber", "transactionHash", "logIndex"))
            return DecodedEvent(
                found.name,
                found.args,
                found.address,
                block_number=None if block is None else _integer(block),
                transaction_hash=None if transaction is None else "0x" + _bytes(transaction).hex(),
                log_index=None if index is None else _integer(index),
            )
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise MalformedData("The node sent an incomplete log.", cause=printable(error)) from error

    def _call(self, name: str, arguments: int | None) -> _Call:
        counts = sorted(count for known, count in self._calls if known == name)
        if arguments is None and len(counts) == 1:
            arguments = counts[0]
        if arguments in counts:
            return self._calls[name, arguments]
        if not counts:
            raise _unknown_function(name)
        takes = " or ".join(str(count) for count in counts)
        noun = "argument" if counts == [1] else "arguments"
        raise UnencodableArguments(
            f"{name} takes {takes} {noun}, not {arguments}.", next_step=f"Pass {takes} {noun} to {name}."
        )


def _unknown_function(name: str) -> UnencodableArguments:
    return UnencodableArguments(
        f"The contract has no function {name}.", next_step="Check the name, and that the ABI belongs to the contract."
    )


class _Values:
    """A list of ABI parameters, encoded and decoded together."""

    def __init__(self, parameters: Sequence[AbiEntry]) -> None:
        self.types = tuple(_type(parameter) for parameter in parameters)
        self.names = tuple(parameter["name"] or f"arg{place}" for place, parameter in enumerate(parameters))
        self._parameters = parameters

    @cached_property
    def _usual(self) -> Kind | None:
        """The codec of values in the usual form; None if it does not support one of the types."""
        try:
            return sequence_of([kind_of(parameter) for parameter in self._parameters])
        except Unusual:
            return None

    @cached_property
    def _reference(self) -> Reference:
        from serving_network.contracts.reference import Reference

        return Reference(self.types, self._parameters)

    def encode(self, args: Sequence[Any], what: str) -> bytes:
        if self._usual is not None:
            with suppress(ValueError):
                return self._usual.encode(args)
        try:
            return self._reference.encode(args)
        except ValueError as error:
            raise self._misfit(args, what, str(error)) from error

    def _misfit(self, args: Sequence[Any], what: str, cause: str) -> UnencodableArguments:
        """The error that names the first argument that does not fit, with the reason."""
        for name, parameter, value in zip(self.names, self._parameters, args, strict=False):
            try:
                _Values([parameter])._reference.encode([value])
            except ValueError as error:
                argument = name.lstrip("_")
                if parameter["type"] != "address":
                    return UnencodableArguments(
                        f"{printable(repr(value))} does not fit the argument {argument} of {what}.",
                        cause=printable(str(error)),
                        next_step=f"Pass a value of the type {_type(parameter)} as {argument}.",
                    )
                wrong_checksum = is_hex_address(value)
                return UnencodableArguments(
                    f"{quoted(value)} is not an address, which {what} takes as {argument}.",
                    cause="Its checksum is wrong." if wrong_checksum else "It is not 0x and 40 hexadecimal digits.",
                    next_step=f"Pass an address as {argument}.",
                )
        return UnencodableArguments(
            f"The arguments of {what} do not match its ABI.",
            cause=cause,
            next_step="Check the number, the types and the range of the arguments.",
        )

    def decode(self, data: bytes, what: str) -> tuple[Any, ...]:
        if self._usual is not None and isinstance(data, bytes):
            with suppress(Unusual):
                return tuple(self._usual.read(bytes(data), 0)[0])
        try:
            return self._reference.decode(data)
        except ValueError as error:
            raise MalformedData(
                f"{what} is malformed.",
                cause=printable(str(error)),
                next_step="Try again, or use another node: this one sent a wrong or truncated answer.",
            ) from error

    def decode_named(self, data: bytes, what: str) -> dict[str, Any]:
        return dict(zip(self.names, self.decode(data, what), strict=True))


class _Call:
    """A function or an error: a name, a selector and arguments."""

    def __init__(self, entry: AbiEntry) -> None:
        self.name: str = entry["name"]
        self.inputs = _Values(entry["inputs"])
        self.selector = keccak(_signature(entry).encode())[:4]


class _Event:
    def __init__(self, entry: AbiEntry) -> None:
        self.name: str = entry["name"]
        self.topic = keccak(_signature(entry).encode())
        inputs = entry["inputs"]
        self._names = [parameter["name"] for parameter in inputs]
        self._indexed = _Values([_as_topic(parameter) for parameter in inputs if parameter["indexed"]])
        self._plain = _Values([parameter for parameter in inputs if not parameter["indexed"]])

    def decode(self, topics: Sequence[bytes], data: bytes) -> dict[str, Any]:
        if len(topics) - 1 != len(self._indexed.types):
            raise MalformedData(f"The node sent a {self.name} event with {len(topics)} topics.")
        args = self._indexed.decode_named(b"".join(topics[1:]), f"the topics of {self.name}")
        args |= self._plain.decode_named(data, f"the data of {self.name}")
        return {name: args[name] for name in self._names}


def _signature(entry: AbiEntry) -> str:
    return f"{entry['name']}({','.join(_type(parameter) for parameter in entry['inputs'])})"


def _type(parameter: AbiEntry) -> str:
    """The type as written in a signature, with structs as tuples."""
    kind: str = parameter["type"]
    if not kind.startswith("tuple"):
        return kind
    return f"({','.join(_type(component) for component in parameter['components'])}){kind.removeprefix('tuple')}"


def _as_topic(parameter: AbiEntry) -> AbiEntry:
    kind: str = parameter["type"]
    hashed = kind in ("string", "bytes") or kind.endswith("]") or kind.startswith("tuple")
    return {"name": parameter["name"], "type": "bytes32"} if hashed else parameter


def _exactly(value: bytes, size: int) -> bytes:
    if len(value) != size:
        raise ValueError(f"{len(value)} bytes instead of exactly {size}")
    return value


def _bytes(value: str | bytes) -> bytes:
    if isinstance(value, str):
        return bytes.fromhex(value.removeprefix("0x"))
    return bytes(memoryview(value))


def _list(value: Any) -> Sequence[Any]:
    if not isinstance(value, (list, tuple)):
        raise TypeError("the topics are not a list")
    return value


def _word(value: str | bytes) -> bytes:
    return _exactly(_bytes(value), 32)


def _integer(value: str | int) -> int:
    number = int(value, 16) if isinstance(value, str) and value.startswith("0x") else value
    if type(number) is not int or number < 0:
        raise ValueError(f"{printable(value)} is not a number")
    return number


_STANDARD_ERRORS = {
    call.selector: call
    for call in (
        _Call({"name": "Error", "inputs": [{"name": "message", "type": "string"}]}),
        _Call({"name": "Panic", "inputs": [{"name": "code", "type": "uint256"}]}),
    )
}
