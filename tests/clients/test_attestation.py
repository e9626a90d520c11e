# SPDX-License-Identifier: Apache-2.0
"""Quotes: what a report says, and which checks a false one fails."""

from __future__ import annotations

import asyncio
import base64
import json
import sys
from dataclasses import replace
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from serving_network.clients.attestation import (
    CollateralUnavailable,
    Fault,
    Genuineness,
    QuoteLibraryMissing,
    check_genuine,
    judge,
)
from serving_network.messages.quotes import Event, InvalidQuote, TeeReport, parse_report
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


QUOTES = Path(__file__).parent / "quotes"


def genuine(name: str, version: int) -> tuple[TeeReport, str, int]:
    """The report of a TDX machine, its collateral, and a time at which it was valid."""
    found = parsed(quote=(QUOTES / name).read_bytes().hex())
    assert int.from_bytes(found.quote[:2], "little") == version
    collateral = (QUOTES / f"{name}_collateral.json").read_text()
    issued = json.loads(json.loads(collateral)["tcb_info"])["issueDate"]
    return found, collateral, int(datetime.fromisoformat(issued).timestamp()) + 3600


@pytest.mark.parametrize(("name", "version"), [("tdx_quote", 4), ("tdx_quote_td15ex", 5)])
def test_a_quote_of_a_tdx_machine(name: str, version: int) -> None:
    dcap_qvl = pytest.importorskip("dcap_qvl")
    report, collateral, then = genuine(name, version)
    found = asyncio.run(check_genuine(report, then, collateral))
    assert (found.status, found.advisories) == ("UpToDate", ())
    assert json.loads(found.collateral or "")["tcb_info"] == json.loads(collateral)["tcb_info"]
    # It is of another machine than the rest of the report.
    verdict = judge(report, found, SIGNER)
    assert [one.fault for one in verdict.checks] == [None, None, Fault.OTHER_SIGNER, Fault.EVENT_LOG, None]
    assert verdict.fault is Fault.OTHER_SIGNER

    read = dcap_qvl.parse_quote(report.quote).report
    assert report.body is not None
    assert report.body.rtmrs == (read.rt_mr0, read.rt_mr1, read.rt_mr2, read.rt_mr3)
    assert (report.body.mrtd, report.body.report_data) == (read.mr_td, read.report_data)


def test_what_intel_does_not_vouch_for() -> None:
    pytest.importorskip("dcap_qvl")
    report, collateral, then = genuine("tdx_quote", 4)

    def fault(report: TeeReport, now: int, collateral: str) -> Fault | None:
        return judge(report, asyncio.run(check_genuine(report, now, collateral)), SIGNER).checks[0].fault

    changed = bytearray(report.quote)
    changed[600] ^= 1
    assert fault(replace(report, quote=bytes(changed)), then, collateral) is Fault.NOT_GENUINE
    assert fault(report, then + 2 * 365 * 24 * 3600, collateral) is Fault.COLLATERAL_EXPIRED
    assert fault(report, 0, collateral) is Fault.COLLATERAL_EXPIRED
    of_another = (QUOTES / "tdx_quote_td15ex_collateral.json").read_text()
    assert fault(report, then, of_another) in (Fault.NOT_GENUINE, Fault.COLLATERAL_EXPIRED)
    assert fault(report, then, collateral.replace('"tcb_info_signature": "', '"tcb_info_signature": "00')) is (
        Fault.NOT_GENUINE
    )


def test_each_fault_has_its_word_and_exit_code() -> None:
    assert len({one.word for one in Fault}) == len({one.exit_code for one in Fault}) == len(Fault)

    def fault(found: TeeReport, genuineness: Genuineness = GENUINE, **given: Any) -> Fault | None:
        return judge(found, genuineness, SIGNER, **given).fault

    assert fault(parsed()) is None
    unverified = Genuineness("not verified: x", None, None)
    assert fault(parsed(quote="mock_quote"), unverified) is Fault.MOCK
    assert fault(parsed(quote="00"), unverified) is Fault.NOT_GENUINE
    assert fault(parsed(), unverified) is Fault.NOT_GENUINE
    assert fault(parsed(), Genuineness("OutOfDate", (), None)) is Fault.TCB_STATUS
    assert fault(parsed(), Genuineness("UpToDate", ("INTEL-SA-1",), None)) is Fault.ADVISORIES
    assert fault(parsed(quote=quote(bytes(64)).hex())) is Fault.OTHER_SIGNER
    assert fault(parsed(event_log="[]")) is Fault.EVENT_LOG
    assert fault(parsed(tcb_info="")) is Fault.COMPOSE_FILE
    assert fault(parsed(), compose_hash=bytes(32)) is Fault.COMPOSE_NOT_PUBLISHED


def test_collateral_that_cannot_be_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    dcap_qvl = pytest.importorskip("dcap_qvl")

    async def fail(*_: object) -> None:
        raise RuntimeError("no route\x1b")

    monkeypatch.setattr(dcap_qvl, "get_collateral", fail)
    with pytest.raises(CollateralUnavailable, match=r"from https://pccs\.example\.$") as failure:
        asyncio.run(check_genuine(parsed(), 0, source="https://user:secret@pccs.example/path"))
    assert failure.value.cause == "no route\\x1b"


def test_the_hash_of_the_compose_file_cannot_be_hidden() -> None:
    """An app measures its own hash, which contains a colon, and then a second event that names the published one."""
    published = sha256(COMPOSE.encode()).digest()
    own = b"a:" + bytes(30)
    events = [("compose-hash", own), ("compose-hash", published)]
    honest = replace(parsed(), events=tuple(Event(3, b"\1\0\0\x08", *one) for one in events))
    assert honest.compose_hash() is None
    moved = Event(3, b"\1\0\0\x08", "compose-hash:a", own[2:])
    forged = replace(honest, events=(moved, honest.events[1]))
    assert [one.measured() for one in forged.events] == [one.measured() for one in honest.events]
    assert forged.compose_hash() is None
    assert replace(honest, events=(honest.events[1],)).compose_hash() == published
