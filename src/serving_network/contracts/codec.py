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

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

from eth_abi.codec import ABICodec
from eth_abi.decoding import StringDecoder
from eth_abi.encoding import TextStringEncoder
from eth_abi.exceptions import DecodingError, EncodingError
from eth_abi.registry import BaseEquals
from eth_abi.registry import registry as standard_registry
from eth_utils import is_checksum_address, keccak, to_checksum_address

from serving_network.errors import InvalidInput, NodeFailure
from serving_network.untrusted import printable

AbiEntry = Mapping[str, Any]
Convert = Callable[[Any], Any]


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
        return DecodedEvent(event.name, event.decode(topics, data), _checksummed(address))

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
        self._words = _word_readers(self.types)
        self._prepare = tuple(_preparation(parameter) for parameter in parameters)
        self._present = tuple(_presentation(parameter) for parameter in parameters)

    def encode(self, args: Sequence[Any], what: str) -> bytes:
        try:
            return _CODEC.encode(self.types, _fit(self._prepare, args))
        except (EncodingError, TypeError, ValueError) as error:
            raise UnencodableArguments(
                f"The arguments of {what} do not match its ABI.",
                cause=str(error),
                next_step="Check the number, the types and the range of the arguments.",
            ) from error

    def decode(self, data: bytes, what: str) -> tuple[Any, ...]:
        if self._words is not None and (read := _read_words(self._words, data)) is not None:
            return read
        try:
            values = _CODEC.decode(self.types, data)
        except (DecodingError, OverflowError, ValueError) as error:
            raise MalformedData(
                f"{what} is malformed.",
                cause=printable(str(error)),
                next_step="Try again, or use another node: this one sent a wrong or truncated answer.",
            ) from error
        return tuple(convert(value) if convert else value for convert, value in zip(self._present, values, strict=True))

    def decode_named(self, data: bytes, what: str) -> dict[str, Any]:
        return dict(zip(self.names, self.decode(data, what), strict=True))


def _word_readers(types: Sequence[str]) -> tuple[Convert, ...] | None:
    """How to read values that take a word each; None if some do not. Raising ValueError leaves a word to eth-abi."""
    readers = [_WORD_READERS.get(one) for one in types]
    known = tuple(one for one in readers if one is not None)
    return known if len(known) == len(readers) else None


def _read_words(readers: Sequence[Convert], data: bytes) -> tuple[Any, ...] | None:
    """Read values that take a word each, which is most events, in a tenth of the time of eth-abi.

    None if anything is wrong with them, so that eth-abi says what.
    """
    if len(data) < 32 * len(readers):
        return None
    try:
        return tuple([read(data[32 * place : 32 * place + 32]) for place, read in enumerate(readers)])
    except ValueError:
        return None


def _uint_reader(bits: int) -> Convert:
    limit = 1 << bits

    def read(word: bytes) -> int:
        number = int.from_bytes(word, "big")
        if number >= limit:
            raise ValueError("out of range")
        return number

    return read


@lru_cache(maxsize=65536)
def _read_address(word: bytes) -> str:
    if any(word[:12]):
        raise ValueError("not an address")
    return str(to_checksum_address(word[12:]))


_BOOLEANS = {bytes(32): False, bytes(31) + b"\x01": True}


def _read_bool(word: bytes) -> bool:
    if word not in _BOOLEANS:
        raise ValueError("not a boolean")
    return _BOOLEANS[word]


_WORD_READERS: Mapping[str, Convert] = {
    "address": _read_address,
    "bool": _read_bool,
    "bytes32": bytes,
    **{f"uint{bits}": _uint_reader(bits) for bits in range(8, 257, 8)},
}


class _Call:
    """A function or an error: a name, a selector and arguments."""

    def __init__(self, entry: AbiEntry) -> None:
        self.name: str = entry["name"]
        self.inputs = _Values(entry["inputs"])
        self.selector = keccak(text=_signature(entry))[:4]


class _Event:
    def __init__(self, entry: AbiEntry) -> None:
        self.name: str = entry["name"]
        self.topic = keccak(text=_signature(entry))
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


def _preparation(parameter: AbiEntry) -> Convert | None:
    """The conversion from a Python value to the encoder's; None if none is needed."""
    kind: str = parameter["type"]
    if kind.endswith("]"):
        return _each(_preparation(_item(parameter)))
    if kind == "tuple":
        names = tuple(component["name"] for component in parameter["components"])
        members = tuple(_preparation(component) for component in parameter["components"])
        return lambda value: _fit(members, _members(value, names))
    if kind == "address":
        return _verified
    if kind.startswith("bytes") and kind != "bytes":
        size = int(kind.removeprefix("bytes"))
        return lambda value: _exactly(value, size)
    return None


def _presentation(parameter: AbiEntry) -> Convert | None:
    """The conversion from the decoder's value to the documented one; None if none is needed."""
    kind: str = parameter["type"]
    if kind.endswith("]"):
        return _each(_presentation(_item(parameter))) or list
    if kind == "tuple":
        names = tuple(component["name"] for component in parameter["components"])
        members = tuple(_presentation(component) for component in parameter["components"])
        return lambda value: {
            name: convert(member) if convert else member
            for name, convert, member in zip(names, members, value, strict=True)
        }
    if kind == "address":
        return _checksummed
    return None


def _item(parameter: AbiEntry) -> AbiEntry:
    return {**parameter, "type": parameter["type"][: parameter["type"].rindex("[")]}


def _each(convert: Convert | None) -> Convert | None:
    return convert and (lambda values: [convert(value) for value in values])


def _fit(converts: Sequence[Convert | None], values: Sequence[Any]) -> list[Any]:
    return [convert(value) if convert else value for convert, value in zip(converts, values, strict=True)]


def _members(value: Any, names: Sequence[str]) -> Sequence[Any]:
    if not isinstance(value, Mapping):
        return tuple(value)
    if value.keys() != set(names):
        raise ValueError(f"a struct has the fields {', '.join(names)}, not {', '.join(value)}")
    return [value[name] for name in names]


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


@lru_cache(maxsize=65536)
def _verified(address: object) -> object:
    """The address itself. Rejects a wrong checksum, which eth-abi accepts."""
    if isinstance(address, str):
        digits = address.removeprefix("0x")
        if digits not in (digits.lower(), digits.upper()) and not is_checksum_address(address):
            raise ValueError(f"the checksum of {address} is wrong")
    return address


@lru_cache(maxsize=65536)
def _checksummed(address: str) -> str:
    return to_checksum_address(address)


def _codec() -> ABICodec:
    registry = standard_registry.copy()
    registry.unregister("string")
    tolerant = StringDecoder(handle_string_errors="backslashreplace")
    registry.register(BaseEquals("string", with_sub=False), TextStringEncoder, tolerant, label="string")
    return ABICodec(registry)


_CODEC = _codec()
_STANDARD_ERRORS = {
    call.selector: call
    for call in (
        _Call({"name": "Error", "inputs": [{"name": "message", "type": "string"}]}),
        _Call({"name": "Panic", "inputs": [{"name": "code", "type": "uint256"}]}),
    )
}
