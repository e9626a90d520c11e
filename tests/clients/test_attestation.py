# SPDX-License-Identifier: Apache-2.0
"""Quotes: what a report says, and which checks a false one fails."""

from __future__ import annotations

import asyncio
import base64
import json
import sys
from dataclasses import replace
from hashlib import sha256
from typing import Any

import pytest

from serving_network.clients.attestation import Genuineness, QuoteLibraryMissing, check_genuine, judge
from serving_network.messages.quotes import InvalidQuote, TeeReport, parse_report
from tests.tee_reports import COMPOSE, LEGACY, SECOND, SIGNER, quote, report

GENUINE = Genuineness("UpToDate", (), "{}")


def parsed(**changes: Any) -> TeeReport:
    return parse_report(json.dumps(report(**changes)).encode())


def failing(found: TeeReport, genuineness: Genuineness = GENUINE, **given: Any) -> list[str]:
    return [one.name for one in judge(found, genuineness, SIGNER, **given).checks if not one.passed]


@pytest.mark.parametrize("version", [4, 5])
@pytest.mark.parametrize("layout", [LEGACY, SECOND])
def test_a_report_that_is_right(version: int, layout: bytes) -> None:
    found = parsed(quote=quote(layout, version).hex())
    assert failing(found) == []
    assert found.body is not None
    assert found.body.mrtd == b"\x0a" * 48
    assert judge(found, GENUINE, SIGNER, sha256(COMPOSE.encode()).digest()).genuine


@pytest.mark.parametrize(
    ("changes", "fails"),
    [
        ({"quote": quote(b"\1" * 64).hex()}, ["report data"]),
        ({"quote": quote(SIGNER.replace("0x32", "0x33").encode().ljust(64, b"\0")).hex()}, ["report data"]),
        ({"quote": quote(LEGACY[:63] + b"\1").hex()}, ["report data"]),
        ({"tcb_info": json.dumps({"app_compose": "other"})}, ["compose file"]),
        ({"tcb_info": {}}, ["compose file"]),
        ({"event_log": json.dumps(json.loads(report()["event_log"])[:2])}, ["event log"]),
        ({"event_log": "[]"}, ["event log", "compose file"]),
        ({"event_log": report()["event_log"].replace('"imr": 3', '"imr": 2')}, ["event log", "compose file"]),
        ({"quote": "mock_quote"}, ["event log"]),
    ],
)
def test_what_each_check_notices(changes: dict[str, Any], fails: list[str]) -> None:
    assert failing(parsed(**changes)) == fails


def test_status_advisories_and_the_published_compose_file() -> None:
    assert failing(parsed(), Genuineness("OutOfDate", ("INTEL-SA-1",), None)) == ["quote", "advisories"]
    assert failing(parsed(), compose_hash=bytes(32)) == ["compose file"]


def test_the_report_data_beside_a_quote_proves_nothing() -> None:
    found = parsed(quote=quote(b"\1" * 64).hex(), report_data=base64.b64encode(LEGACY).decode())
    assert "report data" in failing(found)


def test_a_mock_is_named_as_one() -> None:
    found = parsed(quote="mock_quote", event_log="[]", tcb_info="")
    genuineness = asyncio.run(check_genuine(found, 0))
    verdict = judge(found, genuineness, SIGNER)
    assert [one.found for one in verdict.checks[:2]] == ["a mock, signed by no processor", "unknown"]
    assert not verdict.genuine


def test_the_library_rejects_a_quote_that_no_processor_signed(monkeypatch: pytest.MonkeyPatch) -> None:
    dcap_qvl = pytest.importorskip("dcap_qvl")
    names = ("pck_crl_issuer_chain", "tcb_info_issuer_chain", "tcb_info", "qe_identity_issuer_chain", "qe_identity")
    hashes = ("root_ca_crl", "pck_crl", "tcb_info_signature", "qe_identity_signature")
    collateral = json.dumps(dict.fromkeys(names, "") | dict.fromkeys(hashes, ""))
    found = asyncio.run(check_genuine(parsed(), 0, collateral))
    assert found.status.startswith("not verified: ")
    assert asyncio.run(check_genuine(parsed(), 0, "no JSON")).status.startswith("not verified: ")

    class Verified:
        status, advisory_ids = "UpToDate", ["INTEL-SA-2"]

    monkeypatch.setattr(dcap_qvl, "verify", lambda *_: Verified())
    accepted = asyncio.run(check_genuine(parsed(), 0, collateral))
    assert (accepted.status, accepted.advisories) == ("UpToDate", ("INTEL-SA-2",))
    assert json.loads(accepted.collateral or "")["tcb_info"] == ""


def test_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dcap_qvl", None)
    with pytest.raises(QuoteLibraryMissing):
        asyncio.run(check_genuine(parsed(), 0))
    found = replace(parsed(), body=None)
    assert asyncio.run(check_genuine(found, 0)).status == "not a TDX quote"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"{}",
        b'{"quote": 1, "report_data": ""}',
        json.dumps(report(report_data="AAAA")).encode(),
        json.dumps(report(event_log="{}")).encode(),
        json.dumps(report(event_log='[{"imr": 3}]')).encode(),
        json.dumps(report(event_log=report()["event_log"].replace("134217729", "99999999999"))).encode(),
        json.dumps(report(tcb_info=json.dumps({"app_compose": 1}))).encode(),
        json.dumps(report(tcb_info="[]")).encode(),
    ],
)
def test_a_report_that_cannot_be_read(content: bytes) -> None:
    with pytest.raises(InvalidQuote):
        parse_report(content)


@pytest.mark.parametrize("cut", [0, 8, 47, 100, 600])
def test_a_quote_that_is_cut(cut: int) -> None:
    assert parsed(quote=quote()[:cut].hex() or "00").body is None
