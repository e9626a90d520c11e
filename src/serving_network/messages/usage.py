# SPDX-License-Identifier: Apache-2.0
"""One request that a provider served, as it is settled and hashed, and the rows that are not settled."""

from __future__ import annotations

import re
from hashlib import sha256
from typing import Any, Final, NamedTuple

MAX_ID_CHARACTERS: Final = 512
MAX_FEE: Final = 2**94 - 1
"""The most wei that an account can hold, and therefore the highest possible fee of a request."""

_HASH = re.compile(r"(?:0x)?[0-9a-fA-F]{64}")


class Reject(NamedTuple):
    """A line that is not settled: its number (from 1), the reason, and its first 500 characters."""

    line: int
    reason: str
    text: str


class UsageRow(NamedTuple):
    """One request of the log.

    `request_hash` are the 32 bytes that identify it. `request_text` and `user_text` are the spellings used in the
    requests hash. `time` is in microseconds since 1970 UTC. `fees` are the input and output fee in wei if the row
    specifies them, else None. `cached_tokens` are a part of the input tokens; images count as units of output beside
    the output tokens, seconds as units of input beside the input tokens. With `id_with_time`, the same id at another
    time is another request.
    """

    line: int
    request_hash: bytes
    request_text: str
    user: str
    user_text: str
    time: int
    input_tokens: int
    output_tokens: int
    fees: tuple[int, int] | None
    cached_tokens: int = 0
    images: int = 0
    seconds: int = 0
    id_with_time: bool = False

    def other_units(self) -> dict[str, int]:
        """What the request used beside plain tokens, by its kind."""
        units = {"cached_tokens": self.cached_tokens, "images": self.images, "seconds": self.seconds}
        return {kind: number for kind, number in units.items() if number}

    def at_its_time(self) -> UsageRow:
        """The row under an id that is joined with its time."""
        joined = sha256(b"serving usage id at time\0%b%d" % (self.request_hash, self.time)).digest()
        return self._replace(request_hash=joined, request_text="0x" + joined.hex())

    def continues(self, earlier: UsageRow) -> bool:
        """Whether the row reports what an earlier row of the same stream does, or more output."""
        same = (self.request_hash, self.user, self.input_tokens, self.fees)
        return (
            same == (earlier.request_hash, earlier.user, earlier.input_tokens, None)
            and self.output_tokens >= earlier.output_tokens
        )


class Reading(NamedTuple):
    """How far a log was read: up to `offset`, where line number `line` begins.

    `log` is its path and `file` identifies the file. `header` is a hash of its first line and of how it is read, `tail`
    one of the last block before the offset. With an offset of 0, the log was read but cannot be continued.
    `rejects` are those of the lines before.
    """

    log: str
    file: str
    offset: int
    line: int
    header: bytes
    tail: bytes
    rejects: tuple[Reject, ...] = ()


class BadRow(ValueError):
    """The reason why one row is rejected."""


def identify_request(request_id: Any) -> tuple[bytes, str]:
    """The hash that identifies a request, and its spelling in the requests hash.

    An id of 64 hexadecimal digits, with or without 0x, is already a request hash and keeps its spelling. Any other id
    is hashed with SHA-256 over its UTF-8 text, spelled as 0x and lower-case digits.
    Raises BadRow with the reason if there is no usable id.
    """
    if isinstance(request_id, int) and not isinstance(request_id, bool):
        request_id = str(request_id)
    if is_absent(request_id):
        raise BadRow("missing column: request id")
    if not isinstance(request_id, str):
        raise BadRow(f"bad request id: {shown(request_id)}")
    text = request_id.strip()
    if len(text) > MAX_ID_CHARACTERS:
        raise BadRow(f"request id too long: {len(text)} characters, the limit is {MAX_ID_CHARACTERS}")
    if _HASH.fullmatch(text):
        return bytes.fromhex(text[-64:]), text
    try:
        request_hash = sha256(text.encode("utf-8")).digest()
    except UnicodeEncodeError as error:
        raise BadRow("wrong encoding: the request id is not Unicode text") from error
    return request_hash, "0x" + request_hash.hex()


def is_absent(value: Any) -> bool:
    """Whether a field of a log holds nothing."""
    return value is None or value == "" or (isinstance(value, str) and not value.strip())


def shown(value: Any) -> str:
    """A value of a log for a message, at most 60 characters."""
    text = text_of(value)
    return repr(text if len(text) <= 60 else text[:57] + "...")


def text_of(value: Any) -> str:
    """A value of a log as text, however long it is."""
    try:
        return str(value)
    except ValueError:
        return "a number with thousands of digits"
