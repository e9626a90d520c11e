# SPDX-License-Identifier: Apache-2.0
"""Verify the quote of a provider's TEE: that a genuine processor vouches for the registered signer."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from serving_network.errors import ConfigurationError, NodeFailure
from serving_network.messages.quotes import TeeReport
from serving_network.untrusted import printable, without_secrets

if TYPE_CHECKING:
    from collections.abc import Sequence

UP_TO_DATE: Final = "UpToDate"
_OUTSIDE_ITS_TIME: Final = re.compile(r"expired|in the future", re.IGNORECASE)


class QuoteLibraryMissing(ConfigurationError):
    """The extra that verifies quotes is not installed."""


class CollateralUnavailable(NodeFailure):
    """Intel's collateral could not be fetched, so the quote is neither genuine nor false."""


class Fault(Enum):
    """Why a quote proves nothing: a word, and the exit code of the commands that verify it."""

    MOCK = "mock", 20
    NOT_GENUINE = "not-genuine", 21
    COLLATERAL_EXPIRED = "collateral-expired", 22
    TCB_STATUS = "tcb-status", 23
    ADVISORIES = "advisories", 24
    OTHER_SIGNER = "other-signer", 25
    EVENT_LOG = "event-log", 26
    COMPOSE_FILE = "compose-file", 27
    COMPOSE_NOT_PUBLISHED = "compose-not-published", 28

    def __init__(self, word: str, exit_code: int) -> None:
        self.word = word
        self.exit_code = exit_code


class Checked(NamedTuple):
    """One check of a quote, what it found, and the fault if it failed."""

    name: str
    found: str
    fault: Fault | None = None

    @property
    def passed(self) -> bool:
        return self.fault is None


@dataclass(frozen=True, slots=True)
class Genuineness:
    """What Intel's certificates say about a quote; `advisories` is None if it was not verified.

    `collateral` is the JSON with which it was verified.
    """

    status: str
    advisories: tuple[str, ...] | None
    collateral: str | None


@dataclass(frozen=True, slots=True)
class QuoteVerdict:
    """The result of all checks."""

    checks: tuple[Checked, ...]
    genuineness: Genuineness

    @property
    def genuine(self) -> bool:
        """Whether every check passed."""
        return self.fault is None

    @property
    def fault(self) -> Fault | None:
        """The first fault."""
        return next((one.fault for one in self.checks if one.fault is not None), None)


async def check_genuine(report: TeeReport, now: int, collateral: str | None = None, source: str = "") -> Genuineness:
    """Verify the signature of a quote, with collateral given as JSON, or fetched from the URL `source`.

    Raises QuoteLibraryMissing and CollateralUnavailable.
    """
    if report.body is None:
        return Genuineness("not a TDX quote", None, None)
    try:
        import dcap_qvl
    except ImportError as error:
        raise QuoteLibraryMissing(
            "Quotes are verified by a library that is not installed.",
            next_step="Install the extra serving-network[quote].",
        ) from error
    try:
        found: Any = (
            dcap_qvl.QuoteCollateralV3.from_json(collateral)
            if collateral is not None
            else await _fetched(dcap_qvl, source or dcap_qvl.PHALA_PCCS_URL, report.quote)
        )
        verified: Any = dcap_qvl.verify(report.quote, found, now)
        return Genuineness(str(verified.status), tuple(map(str, verified.advisory_ids)), str(found.to_json()))
    except ValueError as error:
        return Genuineness(f"not verified: {printable(str(error))}", None, collateral)


async def _fetched(dcap_qvl: Any, source: str, quote: bytes) -> Any:
    try:
        return await dcap_qvl.get_collateral(source, quote)
    except RuntimeError as error:
        raise CollateralUnavailable(
            f"The collateral of the quote could not be fetched from {without_secrets(source)}.",
            cause=printable(str(error)),
            next_step="Try again, name another server with --pccs URL, or pass it with --collateral FILE.",
        ) from error


def judge(report: TeeReport, genuineness: Genuineness, signer: str, compose_hash: bytes | None = None) -> QuoteVerdict:
    """All checks of a report, for the signer that the provider registered and the compose hash that it published."""
    bound, replays = report.signer(), report.replays()
    checks = [
        _quote(report, genuineness),
        _advisories(genuineness.advisories),
        Checked(
            "report data",
            f"binds {bound}" if bound else "binds no signer",
            None if bound == signer else Fault.OTHER_SIGNER,
        ),
        Checked(
            "event log",
            "makes up RTMR3" if replays else "does not make up RTMR3",
            None if replays else Fault.EVENT_LOG,
        ),
        _compose(report, compose_hash),
    ]
    return QuoteVerdict(tuple(checks), genuineness)


def as_json(verdict: QuoteVerdict) -> Sequence[dict[str, Any]]:
    """The checks, for programs."""
    return [
        {"name": one.name, "passed": one.passed, "found": one.found, "fault": one.fault and one.fault.word}
        for one in verdict.checks
    ]


def _quote(report: TeeReport, genuineness: Genuineness) -> Checked:
    status = genuineness.status
    if genuineness.advisories is not None:
        return Checked("quote", status, None if status == UP_TO_DATE else Fault.TCB_STATUS)
    if report.body is None and b"mock" in report.quote:
        return Checked("quote", "a mock, signed by no processor", Fault.MOCK)
    expired = _OUTSIDE_ITS_TIME.search(status)
    return Checked("quote", status, Fault.COLLATERAL_EXPIRED if expired else Fault.NOT_GENUINE)


def _advisories(found: tuple[str, ...] | None) -> Checked:
    shown = "unknown" if found is None else ", ".join(found) or "none"
    return Checked("advisories", shown, None if found == () else Fault.ADVISORIES)


def _compose(report: TeeReport, expected: bytes | None) -> Checked:
    found = report.compose_hash()
    if found is None:
        return Checked("compose file", "no hash in the event log", Fault.COMPOSE_FILE)
    if not report.shows_compose():
        return Checked("compose file", "differs from the one in the event log", Fault.COMPOSE_FILE)
    if expected is not None and found != expected:
        return Checked("compose file", f"0x{found.hex()} is not the published one", Fault.COMPOSE_NOT_PUBLISHED)
    return Checked("compose file", f"0x{found.hex()}")
