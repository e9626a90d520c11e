# SPDX-License-Identifier: Apache-2.0
"""Bills, receipts and TEE reports with random damage: each is read, or refused with a clear failure."""

from __future__ import annotations

import json
from random import Random
from typing import Any

import pytest

from serving_network.clients.bills.exported import export_bill, import_bill
from serving_network.clients.bills.verdict import verify_bill
from serving_network.clients.buying.deltas import Deltas
from serving_network.messages.answer_signatures import parse_answer
from serving_network.messages.quotes import parse_report
from tests.clients.bills.making import IDENTITY, evidence, receipts
from tests.outside.clear import done_or_clear
from tests.tee_reports import SIGNER, report

STRANGE: list[Any] = [
    None,
    True,
    -1,
    0,
    2**64,
    2**300,
    1.5,
    "",
    "0x",
    "0x" + "ff" * 32,
    "\x1b",
    "é",
    [],
    {},
    [[]],
    "9" * 90,
]


def damaged(content: Any, random: Random) -> Any:
    """The content with one value, somewhere, replaced or left out."""
    if isinstance(content, dict) and content and random.random() < 0.9:
        name = random.choice(sorted(content))
        if random.random() < 0.1:
            return {key: value for key, value in content.items() if key != name}
        return content | {name: damaged(content[name], random)}
    if isinstance(content, list) and content and random.random() < 0.9:
        place = random.randrange(len(content))
        return [*content[:place], damaged(content[place], random), *content[place + 1 :]]
    return random.choice(STRANGE)


@pytest.mark.parametrize("seed", range(300))
def test_damaged_bills_and_reports(seed: int) -> None:
    random = Random(seed)
    bill = damaged(json.loads(export_bill(IDENTITY, receipts((1, 1), (2, 2)), redact=seed % 2 == 0)), random)
    found = done_or_clear(lambda: import_bill(json.dumps(bill).encode()))
    if found is not None:
        verify_bill(found[1], evidence())
    content = report()
    content |= {name: json.loads(content[name]) for name in ("event_log", "tcb_info")}
    parsed = done_or_clear(lambda: parse_report(json.dumps(damaged(content, random)).encode()))
    if parsed is not None:
        assert parsed.signer() in (SIGNER, None)
        parsed.replays()
        parsed.shows_compose()
    signed = {"text": "a" * 64 + ":" + "b" * 64, "signature": "0x" + "00" * 65, "signing_address": SIGNER}
    done_or_clear(lambda: parse_answer(damaged(signed, random)))


@pytest.mark.parametrize("seed", range(100))
def test_damaged_streams(seed: int) -> None:
    random = Random(seed)
    content = damaged({"choices": [{"delta": {"content": "word"}}]}, random)
    line = bytearray(b"data: " + json.dumps(content).encode() + b"\r\n\n: comment\ndata: [DONE]\n\n")
    line[random.randrange(len(line))] = random.randrange(256)
    assert isinstance(done_or_clear(lambda: Deltas().feed(bytes(line))) or "", str)
