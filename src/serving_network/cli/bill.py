# SPDX-License-Identifier: Apache-2.0
"""`serving bill`: what providers billed, and whether receipts prove it."""

from __future__ import annotations

import shlex
import sys
from datetime import datetime, timedelta
from enum import StrEnum
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from serving_network.cli.console.arguments import INFERENCE_SERVICE, PROVIDER
from serving_network.cli.console.command import reads
from serving_network.cli.console.complete import complete_address
from serving_network.cli.console.output import EXIT_CHECK_FAILED, money
from serving_network.cli.console.session import Session
from serving_network.counting import count
from serving_network.errors import InvalidInput, UnknownName
from serving_network.files import unreadable, write_whole
from serving_network.money import rounded
from serving_network.store.bills import BillIdentity, bills_in, open_bill

if TYPE_CHECKING:
    from serving_network.clients.bills.matching import Payment
    from serving_network.clients.bills.verdict import Verdict
    from serving_network.clients.read.network import AsyncNetwork
    from serving_network.messages.receipts import SignedReceipt

app = typer.Typer(help="Show what providers billed, and verify each coin of it.")

FOLDER = "bills"
BAR = 30
MAX_FILE = 512 * 1024 * 1024
MOST_SHOWN = 20


class By(StrEnum):
    """What spending is grouped by."""

    PROVIDER = "provider"
    MODEL = "model"
    KEY = "key"
    DAY = "day"


@app.command()
@reads
async def show(
    session: Session,
    provider: Annotated[
        str | None, typer.Argument(help="Only this provider. Default: all.", autocompletion=complete_address)
    ] = None,
    by: Annotated[By, typer.Option(help="Group the spending by this.")] = By.PROVIDER,
    days: Annotated[int | None, typer.Option(min=1, help="Only the last days, today included.")] = None,
) -> None:
    """Show your spending from the receipts on this machine.

    Example: serving bill show --by day --days 7
    """
    from serving_network.clients.bills.spending import spending

    whose = session.address(provider) if provider else None
    receipts: list[SignedReceipt] = []
    for identity, path in bills_in(bills_folder(session), session.network.chain_id, session.own_address()):
        if whose in (None, identity.provider):
            with open_bill(path, identity) as bill:
                receipts += bill.receipts()
    if days is not None:
        midnight = datetime.now().astimezone().replace(hour=0, minute=0, second=0, microsecond=0)
        since = (midnight - timedelta(days=days - 1)).timestamp()
        receipts = [one for one in receipts if one.receipt.time >= since]
    found = spending(receipts, by)
    total = sum(one.wei for one in found)
    session.out.result(
        {
            "by": by,
            "total": money(total),
            "spending": [{by.value: one.name, "requests": one.requests, "spent": money(one.wei)} for one in found],
        }
    )
    most = max((one.wei for one in found), default=0) or 1
    columns = 4 if sys.stdout.isatty() else 3  # no bars in a pipe
    session.out.table(
        (by.value, "requests", "spent", "")[:columns],
        [
            (
                session.name(one.name) if by is By.PROVIDER else one.name,
                str(one.requests),
                rounded(one.wei, at_most=True),
                "█" * max(one.wei > 0, one.wei * BAR // most),
            )[:columns]
            for one in found
        ],
        empty="There are no receipts on this machine. Fetch them: serving bill fetch PROVIDER",
    )
    if found:
        session.out.line(f"Total {rounded(total, at_most=True)}")
    if free := sum(one.receipt.is_free for one in receipts):
        session.out.line(f"{count(free, 'request')} of these at no price")


@app.command()
@reads
async def fetch(session: Session, provider: PROVIDER, service: INFERENCE_SERVICE = "inference") -> None:
    """Fetch your receipts from a provider's server, and keep them on this machine.

    Example: serving bill fetch good-provider
    """
    from serving_network.clients.bills.fetching import ProviderFailure, fetch_receipts
    from serving_network.clients.read.inference import inference_service
    from serving_network.clients.servers import provider_session
    from serving_network.contracts.errors import AccountNotExists

    user = await session.user()
    identity = await bill_identity(session, user, provider, service)
    offer, _ = await inference_service(user, identity.provider, service)
    token = await user.make_session(identity.provider, service, free=True)
    new = 0
    with open_bill(bill_path(session, identity), identity) as bill:
        try:
            async with provider_session(identity.chain_id) as http:
                async for page in fetch_receipts(http, offer.url, token, identity, bill.complete_to()):
                    new += bill.add(page)
        except ProviderFailure as failure:
            if failure.status == HTTPStatus.PAYMENT_REQUIRED:
                raise AccountNotExists(user=user.address, provider=session.address(provider)) from failure
            raise
        last = bill.complete_to()
    session.out.result({"new": new, "receipts": last})
    session.out.line(f"Fetched {count(new, 'new receipt')}, {last} in all.")


@app.command()
@reads
async def verify(
    session: Session,
    provider: Annotated[
        str | None, typer.Argument(help="An address, or a name in the address book.", autocompletion=complete_address)
    ] = None,
    file: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="Verify this exported bill instead.")
    ] = None,
    service: INFERENCE_SERVICE = "inference",
) -> None:
    """Verify a bill against the chain: each receipt, and each coin that settlements took. No key is needed.

    Exits with 9 if a receipt is wrong, or if a settlement took coins that no receipt covers.

    Example: serving bill verify good-provider
    """
    from serving_network.clients.bills.evidence import read_evidence
    from serving_network.clients.bills.verdict import verify_bill

    if (provider is None) == (file is None):
        raise InvalidInput(
            "Either a provider or a file can be verified.", next_step="Name a provider, or pass --file FILE."
        )
    network = await session.reader()
    if file is not None:
        identity, receipts = read_bill(file)
        if identity.chain_id != network.chain.chain_id:
            raise InvalidInput(
                f"The bill is of chain {identity.chain_id}, and the network is chain {network.chain.chain_id}.",
                next_step="Choose the network of the bill with --network.",
            )
    else:
        try:
            identity = await bill_identity(session, network, str(provider), service)
        except UnknownName as unknown:
            if Path(str(provider)).is_file():
                unknown.next_step = f"To verify this file: serving bill verify --file {shlex.quote(str(provider))}"
            raise
        receipts = stored_receipts(session, identity)
    verdict = verify_bill(receipts, await read_evidence(network, identity))
    session.out.result(_as_json(identity, verdict))
    _show_verdict(session, identity, verdict)
    if not verdict.proven:
        raise typer.Exit(EXIT_CHECK_FAILED)


@app.command()
@reads
async def export(
    session: Session,
    provider: PROVIDER,
    file: Annotated[Path, typer.Argument(dir_okay=False, help="The file to write.")],
    redact: Annotated[
        bool, typer.Option("--redact", help="Leave out the models and the hashes of requests and answers.")
    ] = False,
    service: INFERENCE_SERVICE = "inference",
) -> None:
    """Write your receipts to a file that anybody can verify with a node and no key.

    Example: serving bill export good-provider bill.json --redact
    """
    from serving_network.clients.bills.exported import export_bill

    identity = await bill_identity(session, await session.reader(), provider, service)
    receipts = stored_receipts(session, identity)
    write_whole(file, export_bill(identity, receipts, redact=redact))
    session.out.result({"file": str(file), "receipts": len(receipts), "redacted": redact})
    session.out.line(f"Wrote {count(len(receipts), 'receipt')} to {file}.")
    session.out.line(f"To verify it: serving bill verify --file {file}")


def read_bill(file: Path) -> tuple[BillIdentity, list[SignedReceipt]]:
    """The bill that was exported to a file. Raises InvalidBill."""
    from serving_network.clients.bills.exported import InvalidBill, import_bill

    try:
        if file.stat().st_size > MAX_FILE:
            raise InvalidBill(f"{file} is larger than {MAX_FILE} bytes.", next_step="Pass an exported bill.")
        return import_bill(file.read_bytes(), str(file))
    except OSError as error:
        raise unreadable(InvalidBill, file, error, "a bill") from error


def bills_folder(session: Session) -> Path:
    """Where bills are kept."""
    return session.configuration.directory / FOLDER


def bill_path(session: Session, identity: BillIdentity) -> Path:
    """The file of one bill."""
    return bills_folder(session) / identity.file_name


async def bill_identity(session: Session, network: AsyncNetwork, provider: str, service: str) -> BillIdentity:
    """The bill of the key in use with a provider."""
    contract = (await network.service(service)).address
    return BillIdentity(network.chain.chain_id, contract, session.address(provider), session.own_address())


def stored_receipts(session: Session, identity: BillIdentity) -> list[SignedReceipt]:
    """The receipts of a bill on this machine. Raises UnknownName if there is none."""
    path = bill_path(session, identity)
    if not path.exists():
        raise UnknownName(
            f"There are no receipts of {session.name(identity.provider)} on this machine.",
            next_step=f"serving bill fetch {identity.provider}",
        )
    with open_bill(path, identity) as bill:
        return bill.receipts()


def _as_json(identity: BillIdentity, verdict: Verdict) -> dict[str, Any]:
    from serving_network.clients.bills.matching import Coverage

    return {
        "proven": verdict.proven,
        "provider": identity.provider,
        "user": identity.user,
        "block": verdict.block,
        "receipts": verdict.receipts,
        "billed": money(verdict.billed),
        "free_receipts": verdict.free,
        "covered": money(verdict.paid(Coverage.COVERED)),
        "uncovered": money(verdict.paid(Coverage.UNCOVERED)),
        "not_readable": money(verdict.paid(Coverage.UNREADABLE)),
        "not_settled": money(verdict.to_settle),
        "not_settled_receipts": [one.sequence for one in verdict.unsettled],
        "settlements": [_payment(one) for one in verdict.payments],
        "problems": [one._asdict() for one in verdict.problems],
    }


def _payment(one: Payment) -> dict[str, Any]:
    return {
        "transaction": one.settled.transaction_hash,
        "block": one.settled.block_number,
        "paid": money(one.settled.outcome.paid),
        "coverage": one.coverage,
        "first_receipt": one.first,
        "last_receipt": one.last,
        "voided_receipts": one.voided,
    }


def _show_verdict(session: Session, identity: BillIdentity, verdict: Verdict) -> None:
    from serving_network.clients.bills.matching import Coverage

    out = session.out
    covered = verdict.paid(Coverage.COVERED)
    out.facts(
        {
            "provider": session.name(identity.provider),
            "user": session.name(identity.user),
            "receipts": f"{verdict.receipts} over {rounded(verdict.billed, at_most=True)}",
            "settled": rounded(covered, at_most=True) + (" covered by receipts" if covered else ""),
            "not settled": f"{rounded(verdict.to_settle, at_most=True)} of {count(len(verdict.unsettled), 'receipt')}",
        }
        | ({"free": count(verdict.free, "receipt")} if verdict.free else {})
    )
    for coverage, what in ((Coverage.UNCOVERED, "without receipts"), (Coverage.UNREADABLE, "through a contract")):
        for one in [one for one in verdict.payments if one.coverage is coverage]:
            paid = rounded(one.settled.outcome.paid, at_most=True)
            out.line(f"Settled {what}: {paid} in block {one.settled.block_number}", "red")
            out.line(f"  {one.settled.transaction_hash}")
    for one in [one for one in verdict.payments if one.voided]:
        out.line(f"Voided by the provider: {count(len(one.voided), 'receipt')} from {one.voided[0]} on")
    for problem in verdict.problems[:MOST_SHOWN]:
        out.line(f"Receipt {problem.sequence}: {problem.message}", "red")
    if len(verdict.problems) > MOST_SHOWN:
        out.line(f"... and {len(verdict.problems) - MOST_SHOWN} more; --json lists all.")
    if verdict.proven:
        result = verdict.conclusion(str(verdict.block))
        if not covered and verdict.receipts:
            result += f" {count(verdict.receipts, 'receipt')} verified without a fault."
        out.line(result, "green")
        return
    out.line("Not proven.", "red")
    if verdict.paid(Coverage.UNCOVERED):
        out.line(f"Receipts may be missing here. To fetch them: serving bill fetch {identity.provider}")
