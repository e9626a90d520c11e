# SPDX-License-Identifier: Apache-2.0
"""Encode and decode ABI values in the usual form, in a tenth of the time of eth-abi.

Encoding takes values of exactly the documented types. Decoding takes bytes as contracts encode them: padded with zeros,
each dynamic value right behind the previous one. For everything else Unusual is raised, and eth-abi decides
(`reference.py`). Both give the same result for the same values.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from serving_network.addresses import to_canonical_address, to_checksum_address

AbiEntry = Mapping[str, Any]

WORD = 32
_ZEROS = bytes(WORD)


class Unusual(ValueError):
    """Values or bytes that are not in the usual form, or a type that is not supported here."""


class Kind(NamedTuple):
    """A type. `size` is its bytes in place; None for a dynamic type, which has its offset in place.

    `read` returns the value at a position and the position behind it. The bytes of a static type must be there.
    """

    size: int | None
    encode: Callable[[Any], bytes]
    read: Callable[[bytes, int], tuple[Any, int]]

    @property
    def head(self) -> int:
        """The bytes in place."""
        return WORD if self.size is None else self.size


def kind_of(parameter: AbiEntry) -> Kind:
    """The type of a parameter. Raises Unusual if it is not supported here."""
    name: str = parameter["type"]
    if name.endswith("]"):
        item, _, length = name[:-1].rpartition("[")
        kind = kind_of({**parameter, "type": item})
        if kind.head == 0:
            raise Unusual(name)
        return _array(kind) if not length else _sized_array(kind, int(length))
    if name == "tuple":
        names = [component["name"] for component in parameter["components"]]
        return _struct(names, sequence_of([kind_of(component) for component in parameter["components"]]))
    if (known := _SIMPLE.get(name)) is None:
        raise Unusual(name)
    return known


def sequence_of(kinds: Sequence[Kind]) -> Kind:
    """Several values, one behind the other: a list in Python."""
    heads = sum(kind.head for kind in kinds)
    is_static = all(kind.size is not None for kind in kinds)
    count = len(kinds)

    def encode(values: Any) -> bytes:
        if len(values) != count:
            raise Unusual
        if is_static:
            return b"".join([kind.encode(value) for kind, value in zip(kinds, values, strict=True)])
        places, tails, end = [], [], heads
        for kind, value in zip(kinds, values, strict=True):
            encoded = kind.encode(value)
            if kind.size is None:
                places.append(end.to_bytes(WORD))
                tails.append(encoded)
                end += len(encoded)
            else:
                places.append(encoded)
        return b"".join(places + tails)

    def read(data: bytes, start: int) -> tuple[Any, int]:
        place, end = start, start + heads
        if end > len(data):
            raise Unusual
        values = []
        for size, _, read_one in kinds:
            if size is None:
                if int.from_bytes(data[place : place + WORD]) != end - start:
                    raise Unusual
                value, end = read_one(data, end)
                place += WORD
            else:
                value, place = read_one(data, place)
            values.append(value)
        return values, end

    return Kind(heads if is_static else None, encode, read)


def _struct(names: list[str], members: Kind) -> Kind:
    known = set(names)

    def encode(value: Any) -> bytes:
        if isinstance(value, dict):
            if value.keys() != known:
                raise Unusual
            return members.encode([value[name] for name in names])
        return members.encode(_sequence(value))

    def read(data: bytes, start: int) -> tuple[Any, int]:
        values, end = members.read(data, start)
        return dict(zip(names, values, strict=True)), end

    return Kind(members.size, encode, read)


def _array(item: Kind) -> Kind:
    def encode(values: Any) -> bytes:
        return len(_sequence(values)).to_bytes(WORD) + sequence_of([item] * len(values)).encode(values)

    def read(data: bytes, start: int) -> tuple[Any, int]:
        count, first = _length(data, start), start + WORD
        if first + count * item.head > len(data):
            raise Unusual
        if item.size is None:
            return sequence_of([item] * count).read(data, first)
        read_one = item.read
        values = [read_one(data, first + place)[0] for place in range(0, count * item.size, item.size)]
        return values, first + count * item.size

    return Kind(None, encode, read)


def _sized_array(item: Kind, length: int) -> Kind:
    if length == 0:
        raise Unusual
    items = sequence_of([item] * length)
    return items._replace(encode=lambda values: items.encode(_sequence(values)))


def _sequence(values: Any) -> Any:
    if not isinstance(values, (list, tuple)):
        raise Unusual
    return values


def _length(data: bytes, place: int) -> int:
    if place + WORD > len(data):
        raise Unusual
    return int.from_bytes(data[place : place + WORD])


def _unsigned(bits: int) -> Kind:
    limit = 1 << bits

    def encode(value: Any) -> bytes:
        if type(value) is not int or not 0 <= value < limit:
            raise Unusual
        return value.to_bytes(WORD)

    def read(data: bytes, place: int) -> tuple[Any, int]:
        end = place + WORD
        value = int.from_bytes(data[place:end])
        if value >= limit:
            raise Unusual
        return value, end

    return Kind(WORD, encode, read)


def _signed(bits: int) -> Kind:
    limit = 1 << bits - 1

    def encode(value: Any) -> bytes:
        if type(value) is not int or not -limit <= value < limit:
            raise Unusual
        return value.to_bytes(WORD, signed=True)

    def read(data: bytes, place: int) -> tuple[Any, int]:
        end = place + WORD
        value = int.from_bytes(data[place:end], signed=True)
        if not -limit <= value < limit:
            raise Unusual
        return value, end

    return Kind(WORD, encode, read)


def _fixed_bytes(size: int) -> Kind:
    padding = bytes(WORD - size)

    def encode(value: Any) -> bytes:
        if not isinstance(value, bytes) or len(value) != size:
            raise Unusual
        return value + padding

    def read(data: bytes, place: int) -> tuple[Any, int]:
        end = place + WORD
        if data[place + size : end] != padding:
            raise Unusual
        return data[place : place + size], end

    return Kind(WORD, encode, read)


def _encode_address(value: Any) -> bytes:
    if not isinstance(value, str) or not value.startswith("0x"):
        raise Unusual
    digits = value[2:]
    if digits not in (digits.lower(), digits.upper()) and value != to_checksum_address(value):
        raise Unusual
    return _ZEROS[:12] + to_canonical_address(value)


def _read_address(data: bytes, place: int) -> tuple[Any, int]:
    end = place + WORD
    if data[place : place + 12] != _ZEROS[:12]:
        raise Unusual
    return to_checksum_address(data[place + 12 : end]), end


def _encode_flag(value: Any) -> bytes:
    if not isinstance(value, bool):
        raise Unusual
    return value.to_bytes(WORD)


def _read_flag(data: bytes, place: int) -> tuple[Any, int]:
    value, end = _FLAG.read(data, place)
    return value == 1, end


def _encode_bytes(value: Any) -> bytes:
    if not isinstance(value, bytes):
        raise Unusual
    return len(value).to_bytes(WORD) + value + _ZEROS[: -len(value) % WORD]


def _read_bytes(data: bytes, place: int) -> tuple[Any, int]:
    size, first = _length(data, place), place + WORD
    last, padding = first + size, -size % WORD
    if last + padding > len(data) or data[last : last + padding] != _ZEROS[:padding]:
        raise Unusual
    return data[first:last], last + padding


def _encode_text(value: Any) -> bytes:
    if not isinstance(value, str):
        raise Unusual
    return _encode_bytes(value.encode())


def _read_text(data: bytes, place: int) -> tuple[Any, int]:
    content, end = _read_bytes(data, place)
    return content.decode(errors="backslashreplace"), end


_FLAG = _unsigned(1)
_SIMPLE = {
    **{f"uint{bits}": _unsigned(bits) for bits in range(8, 257, 8)},
    **{f"int{bits}": _signed(bits) for bits in range(8, 257, 8)},
    **{f"bytes{size}": _fixed_bytes(size) for size in range(1, 33)},
    "address": Kind(WORD, _encode_address, _read_address),
    "bool": Kind(WORD, _encode_flag, _read_flag),
    "bytes": Kind(None, _encode_bytes, _read_bytes),
    "string": Kind(None, _encode_text, _read_text),
}
