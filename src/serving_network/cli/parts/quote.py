# SPDX-License-Identifier: Apache-2.0
"""Verify a provider's quote and archive the verdict, for users and for the owner."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from serving_network.cli.console.arguments import parse_data
from serving_network.cli.console.times import moment
from serving_network.files import write_whole

if TYPE_CHECKING:
    from serving_network.cli.console.session import Session
    from serving_network.clients.attestation import QuoteVerdict
    from serving_network.contracts.models import FineTuningOffer, Offer

FOLDER = "quotes"
RTMRS = 4

COLLATERAL = Annotated[
    Path | None,
    typer.Option(exists=True, dir_okay=False, help="Intel's collateral as JSON. Default: fetched from --pccs."),
]
PCCS = Annotated[str, typer.Option(help="The URL of a PCCS. Default: that of the library.")]
COMPOSE_HASH = Annotated[
    bytes | None,
    typer.Option(parser=parse_data, metavar="HASH", help="The published SHA-256 of the compose file, as 0x..."),
]


@dataclass(frozen=True)
class Given:
    """What the options say about a quote's verification."""

    collateral: Path | None
    pccs: str
    compose_hash: bytes | None


async def review(session: Session, provider: str, offer: Offer | FineTuningOffer, given: Given) -> QuoteVerdict:
    """Fetch and verify a provider's quote, archive the verdict and show it. Raises as `examine`."""
    verdict, archived, path = await examine(session, provider, offer, given)
    session.out.result(archived | {"archive": str(path)})
    session.out.facts({"provider": session.name(provider), "signer": offer.tee_signer} | _measurements(archived))
    for check in verdict.checks:
        session.out.line(f"{'ok   ' if check.passed else 'FAILS'}  {check.name:<12}  {check.found}")
    session.out.line(f"Archived in {path}")
    return verdict


async def examine(
    session: Session, provider: str, offer: Offer | FineTuningOffer, given: Given
) -> tuple[QuoteVerdict, dict[str, Any], Path]:
    """The verdict on a provider's quote, and what of it is archived where.

    Raises ProviderFailure, InvalidQuote, QuoteLibraryMissing and CollateralUnavailable.
    """
    from serving_network.clients.attestation import as_json, check_genuine, judge
    from serving_network.clients.bills.fetching import get_json
    from serving_network.clients.servers import provider_session
    from serving_network.messages.quotes import parse_report

    async with provider_session(session.network.chain_id) as http:
        content = await get_json(http, f"{offer.url}/v1/quote")
    report = parse_report(json.dumps(content).encode())
    now = int(time.time())
    collateral = given.collateral.read_text("utf-8") if given.collateral else None
    genuineness = await check_genuine(report, now, collateral, given.pccs)
    verdict = judge(report, genuineness, offer.tee_signer, given.compose_hash)
    archived = {
        "genuine": verdict.genuine,
        "provider": provider,
        "signer": offer.tee_signer,
        "time": moment(now),
        "checks": as_json(verdict),
        "fault": verdict.fault and verdict.fault.word,
        "status": genuineness.status,
        "advisories": genuineness.advisories,
        "compose_hash": report.compose_hash(),
        "mrtd": report.body and report.body.mrtd,
    }
    for number in range(RTMRS):
        archived[f"rtmr{number}"] = report.body and report.body.rtmrs[number]
    evidence = {"report": content, "collateral": genuineness.collateral}
    path = session.configuration.directory / FOLDER / f"{session.network.chain_id}-{provider}-{now}.json"
    write_whole(path, json.dumps(archived | evidence, indent=1, default=lambda value: "0x" + value.hex()) + "\n")
    return verdict, archived, path


def end(session: Session, verdict: QuoteVerdict) -> None:
    """Say what the verdict means, and exit with the code of the first fault."""
    if verdict.fault is None:
        session.out.line("A genuine TEE vouches for the registered signer.", "green")
        return
    session.out.line("Nothing proves that a TEE holds the signer's key.", "red")
    raise typer.Exit(verdict.fault.exit_code)


def _measurements(archived: dict[str, Any]) -> dict[str, str]:
    """What the processor measured, to compare with what the provider published; nothing for a mock."""
    names = ("mrtd", *(f"rtmr{number}" for number in range(RTMRS)))
    return {name.upper(): f"0x{archived[name].hex()}" for name in names if archived[name] is not None}
