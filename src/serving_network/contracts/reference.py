# SPDX-License-Identifier: Apache-2.0
"""Encode and decode ABI values by eth-abi: what is not in the usual form (`values.py`), and the reason why not.

It is imported when it is needed: eth-abi and what it imports take longer than most commands run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from eth_abi.codec import ABICodec
from eth_abi.decoding import StringDecoder
from eth_abi.encoding import TextStringEncoder
from eth_abi.exceptions import DecodingError, EncodingError
from eth_abi.registry import BaseEquals
from eth_abi.registry import registry as standard_registry

from serving_network.addresses import is_checksum_address, to_checksum_address
from serving_network.contracts.values import AbiEntry

Convert = Callable[[Any], Any]


class Reference:
    """A list of ABI parameters of these types, encoded and decoded together."""

    def __init__(self, types: Sequence[str], parameters: Sequence[AbiEntry]) -> None:
        self._types = types
        self._prepare = tuple(_preparation(parameter) for parameter in parameters)
        self._present = tuple(_presentation(parameter) for parameter in parameters)

    def encode(self, args: Sequence[Any]) -> bytes:
        """The encoded values. Raises ValueError for values that do not fit their types."""
        try:
            return _CODEC.encode(self._types, _fit(self._prepare, args))
        except (EncodingError, TypeError, ValueError) as error:
            raise ValueError(str(error)) from error

    def decode(self, data: bytes) -> tuple[Any, ...]:
        """The values in the data. Raises ValueError for data that do not encode values of these types."""
        try:
            values = _CODEC.decode(self._types, data)
        except (DecodingError, OverflowError, ValueError) as error:
            raise ValueError(str(error)) from error
        return tuple(convert(value) if convert else value for convert, value in zip(self._present, values, strict=True))


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
        return to_checksum_address
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


@lru_cache(maxsize=65536)
def _verified(address: object) -> object:
    """The address itself. Rejects a wrong checksum, which eth-abi accepts."""
    if isinstance(address, str):
        digits = address.removeprefix("0x")
        if digits not in (digits.lower(), digits.upper()) and not is_checksum_address(address):
            raise ValueError(f"the checksum of {address} is wrong")
    return address


def _codec() -> ABICodec:
    registry = standard_registry.copy()
    registry.unregister("string")
    tolerant = StringDecoder(handle_string_errors="backslashreplace")
    registry.register(BaseEquals("string", with_sub=False), TextStringEncoder, tolerant, label="string")
    return ABICodec(registry)


_CODEC = _codec()
