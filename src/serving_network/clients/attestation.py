# SPDX-License-Identifier: Apache-2.0
"""Verify the quote of a provider's TEE: that a genuine processor vouches for the registered signer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from serving_network.errors import ConfigurationError
from serving_network.messages.quotes import TeeReport
from serving_network.untrusted import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

UP_TO_DATE: Final = "UpToDate"


class QuoteLibraryMissing(ConfigurationError):
    """The extra that verifies quotes is not installed."""


class Checked(NamedTuple):
    """One check of a quote, and what it found."""

    name: str
    passed: bool
    found: str


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
        return all(one.passed for one in self.checks)


async def check_genuine(report: TeeReport, now: int, collateral: str | None = None, source: str = "") -> Genuineness:
    """Verify the signature of a quote, with collateral given as JSON, or fetched from the URL `source`.

    Raises QuoteLibraryMissing.
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
            else await dcap_qvl.get_collateral(source or dcap_qvl.PHALA_PCCS_URL, report.quote)
        )
        verified: Any = dcap_qvl.verify(report.quote, found, now)
        return Genuineness(str(verified.status), tuple(map(str, verified.advisory_ids)), str(found.to_json()))
    except (ValueError, RuntimeError) as error:
        return Genuineness(f"not verified: {printable(str(error))}", None, collateral)


def judge(report: TeeReport, genuineness: Genuineness, signer: str, compose_hash: bytes | None = None) -> QuoteVerdict:
    """All checks of a report, for the signer that the provider registered and the compose hash that it published."""
    bound = report.signer()
    checks = [
        Checked("quote", genuineness.status == UP_TO_DATE, _kind(report, genuineness)),
        Checked("advisories", genuineness.advisories == (), _advisories(genuineness.advisories)),
        Checked("report data", bound == signer, f"binds {bound}" if bound else "binds no signer"),
        Checked("event log", report.replays(), "makes up RTMR3" if report.replays() else "does not make up RTMR3"),
        _compose(report, compose_hash),
    ]
    return QuoteVerdict(tuple(checks), genuineness)


def as_json(verdict: QuoteVerdict) -> Sequence[dict[str, Any]]:
    """The checks, for programs."""
    return [one._asdict() for one in verdict.checks]


def _kind(report: TeeReport, genuineness: Genuineness) -> str:
    if report.body is None:
        mock = b"mock" in report.quote
        return "a mock, signed by no processor" if mock else "not a TDX quote"
    return genuineness.status


def _advisories(found: tuple[str, ...] | None) -> str:
    return "unknown" if found is None else ", ".join(found) or "none"


def _compose(report: TeeReport, expected: bytes | None) -> Checked:
    found = report.compose_hash()
    if found is None:
        return Checked("compose file", passed=False, found="no hash in the event log")
    if not report.shows_compose():
        return Checked("compose file", passed=False, found="differs from the one in the event log")
    if expected is not None and found != expected:
        return Checked("compose file", passed=False, found=f"0x{found.hex()} is not the published one")
    return Checked("compose file", passed=True, found=f"0x{found.hex()}")
