# SPDX-License-Identifier: Apache-2.0
"""The report of a TEE, as providers answer `GET /v1/quote`, and what it says if its quote is genuine.

| part | what it shows |
|---|---|
| quote | what the processor signed: the measurements, and 64 bytes of report data |
| report data | the TEE signer: its address as text, or after 32 bytes of an encryption key, with a version |
| event log | the events that make up the measurement RTMR3, among them the hash of the compose file |
| tcb_info | the compose file, whose SHA-256 is in the event log |

The quote's own signature is checked elsewhere, by Intel's certificates.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from hashlib import sha256, sha384
from typing import Any, Final, NamedTuple

from serving_network.addresses import to_checksum_address
from serving_network.errors import InvalidInput
from serving_network.untrusted import parse_json, printable

REPORT_DATA_BYTES: Final = 64
MAX_EVENTS: Final = 10_000

_TDX: Final = 0x81
_HEADER_BYTES: Final = 48
_DESCRIPTOR_BYTES: Final = 6  # before the body of a quote of version 5
_MRTD: Final = slice(136, 184)
_RTMRS: Final = tuple(slice(start, start + 48) for start in (328, 376, 424, 472))
_REPORT_DATA: Final = slice(520, 584)
_ADDRESS_CHARACTERS: Final = 42
_LAYOUT_VERSION: Final = 1
_RTMR3_EVENTS: Final = 3
_COMPOSE_HASH: Final = b"compose-hash:"
_SHA256_BYTES: Final = 32


class InvalidQuote(InvalidInput):
    """The report of a TEE cannot be read. `str(error)` says why."""


class TdxBody(NamedTuple):
    """What the processor of a TDX machine signed."""

    mrtd: bytes
    rtmrs: tuple[bytes, bytes, bytes, bytes]
    report_data: bytes


class Event(NamedTuple):
    """An entry of the event log; `imr` is the number of the measurement that it extends."""

    imr: int
    kind: bytes
    name: str
    payload: bytes

    def measured(self) -> bytes:
        """What is measured after the kind."""
        return self.name.encode() + b":" + self.payload


@dataclass(frozen=True, slots=True)
class TeeReport:
    """A report. `body` is None for a quote that no processor signed: it is a mock, or not of TDX."""

    quote: bytes
    body: TdxBody | None
    report_data: bytes
    events: tuple[Event, ...]
    app_compose: str | None

    def signer(self) -> str | None:
        """The address that the report data binds; None if it binds none."""
        return _signer_in(self.body.report_data if self.body else self.report_data)

    def replays(self) -> bool:
        """Whether the event log makes up the measurement RTMR3."""
        return self.body is not None and _replayed(self.events) == self.body.rtmrs[_RTMR3_EVENTS]

    def compose_hash(self) -> bytes | None:
        """The hash of the compose file in the event log; None if there is not exactly one.

        Name and payload are measured with a colon between them, so a provider can move the boundary to a colon in the
        payload. What counts is therefore how the measured bytes begin, not the name that the provider shows.
        """
        measured = [one.measured() for one in self.events if one.imr == _RTMR3_EVENTS]
        found = [one[len(_COMPOSE_HASH) :] for one in measured if one.startswith(_COMPOSE_HASH)]
        return found[0] if len(found) == 1 and len(found[0]) == _SHA256_BYTES else None

    def shows_compose(self) -> bool:
        """Whether the compose file beside the quote is the one whose hash is in the event log."""
        shown = None if self.app_compose is None else sha256(self.app_compose.encode()).digest()
        return shown is not None and shown == self.compose_hash()


def report_data_of(signer: str) -> bytes:
    """The 64 bytes that bind a signer in the layout that all published clients read."""
    return signer.encode("ascii").ljust(REPORT_DATA_BYTES, b"\0")


def render_report(quote: bytes, report_data: bytes, *, event_log: str, vm_config: str, tcb_info: str) -> bytes:
    """A genuine report, as `GET /v1/quote` answers with it. The last three are JSON as dstack returns it."""
    content = {"quote": quote.hex(), "event_log": event_log, "report_data": _base64(report_data)}
    content |= {"vm_config": vm_config} | ({"tcb_info": tcb_info} if tcb_info else {})
    return json.dumps(content).encode()


def mock_report(signer: str) -> bytes:
    """The report of a signer that is not in a TEE: the form of the mock backend, marked as one."""
    content = {"quote": "mock_quote", "report_data": _base64(report_data_of(signer)), "event_log": "[]"}
    return json.dumps(content | {"vm_config": "", "mock": True}).encode()


def parse_report(content: bytes) -> TeeReport:
    """The report in an answer to `GET /v1/quote`, checked for form only. Raises InvalidQuote."""
    try:
        return _parsed(parse_json(content))
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise InvalidQuote(
            "The report of the TEE cannot be read.",
            cause=printable(str(error)) or type(error).__name__,
            next_step="Ask the provider.",
        ) from error


def parse_body(quote: bytes) -> TdxBody | None:
    """What a TDX quote of version 4 or 5 says; None for anything else."""
    version, tee = int.from_bytes(quote[:2], "little"), int.from_bytes(quote[4:8], "little")
    if version not in (4, 5) or tee != _TDX:
        return None
    body = quote[_HEADER_BYTES + (_DESCRIPTOR_BYTES if version == 5 else 0) :]
    if len(body) < _REPORT_DATA.stop:
        return None
    rtmr0, rtmr1, rtmr2, rtmr3 = (body[place] for place in _RTMRS)
    return TdxBody(body[_MRTD], (rtmr0, rtmr1, rtmr2, rtmr3), body[_REPORT_DATA])


def _parsed(content: Any) -> TeeReport:
    text = content["quote"].removeprefix("0x")
    try:
        quote = bytes.fromhex(text)
    except ValueError:
        quote = text.encode()
    report_data = base64.b64decode(content["report_data"], validate=True)
    if len(report_data) != REPORT_DATA_BYTES:
        raise ValueError(f"report_data has {len(report_data)} bytes")
    tcb_info = _json(content.get("tcb_info") or (content.get("info") or {}).get("tcb_info") or {})
    compose = tcb_info.get("app_compose")
    if compose is not None and not isinstance(compose, str):
        raise TypeError("app_compose is not text")
    events = _json(content.get("event_log") or [])
    if not isinstance(events, list) or len(events) > MAX_EVENTS:
        raise ValueError("event_log is not a list")
    return TeeReport(quote, parse_body(quote), report_data, tuple(map(_event, events)), compose)


def _event(entry: Any) -> Event:
    return Event(
        int(entry["imr"]),
        int(entry["event_type"]).to_bytes(4, "little"),
        str(entry["event"]),
        bytes.fromhex(entry["event_payload"]),
    )


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _json(value: Any) -> Any:
    return parse_json(value) if isinstance(value, str) else value


def _signer_in(report_data: bytes) -> str | None:
    text, rest = report_data[:_ADDRESS_CHARACTERS], report_data[_ADDRESS_CHARACTERS:]
    try:
        if text.startswith(b"0x") and not any(rest):
            return to_checksum_address(text.decode("ascii"))
    except ValueError:
        return None
    if int.from_bytes(report_data[52:56], "big") == _LAYOUT_VERSION and not any(report_data[56:]):
        return to_checksum_address(report_data[32:52])
    return None


def _replayed(events: tuple[Event, ...]) -> bytes:
    """RTMR3 as the events extend it. An event's digest is recomputed from its content, not taken as it is."""
    measured = bytes(48)
    for one in events:
        if one.imr == _RTMR3_EVENTS:
            content = one.kind + b":" + one.measured()
            measured = sha384(measured + sha384(content).digest()).digest()
    return measured
