# SPDX-License-Identifier: Apache-2.0
"""Print what settling did, or would do: the report of a run, the result of single settlements, and the books."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from serving_network.cli.console.output import money
from serving_network.counting import count
from serving_network.money import format_coins, rounded
from serving_network.untrusted import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from serving_network.cli.console.output import Output
    from serving_network.cli.console.session import Session
    from serving_network.clients.provider import SettlementResult
    from serving_network.clients.read.books import BookLine
    from serving_network.messages.usage import Reject
    from serving_network.settlement.planning import Wait
    from serving_network.settlement.report import Report, UserLine

COLUMNS = ("user", "requests", "input tokens", "output tokens", "fee", "paid", "unsettled", "status", "gas")


def show_report(session: Session, report: Report, rejects: str | None, first: Reject | None = None) -> None:
    """Print the users, what must happen first, the notes, the totals, and the first of the rejected rows."""
    out = session.out
    lines = list(report.lines.values())
    paid = "expected" if session.dry_run else "paid"
    columns = [paid if column == "paid" else column for column in COLUMNS]
    rows = [_row(session, line, session.dry_run) for line in lines]
    out.table(columns, rows, "Nothing is open.")
    out.line()
    _show_waits(session, lines)
    _show_warnings(session, lines)
    for note in report.notes:
        out.line(f"Note  {note}")
    if report.notes:
        out.line()
    out.facts(_totals(session, report, lines))
    if report.rejected:
        where = rejects or "run it without --dry-run to write them to a file"
        out.line(f"Rejected {count(report.rejected, 'row')} of the log: {where}", "yellow")
    if first is not None:
        out.line(f"  line {first.line}: {printable(first.reason)}", "yellow")


def show_books(out: Output, books: list[BookLine]) -> None:
    """Print the books, one line per contract."""
    for book in books:
        owed = " + ".join(f"{name} {format_coins(amount)}" for name, amount in book.owed.items())
        verdict = "balanced" if book.surplus == 0 else f"{rounded(book.surplus)} more" if book.surplus > 0 else "SHORT"
        out.line(f"{book.contract:<18} holds {format_coins(book.held)} = {owed}: {verdict}")


def _row(session: Session, line: UserLine, dry_run: bool) -> tuple[str, ...]:
    return (
        session.name(line.user),
        str(line.requests),
        str(line.input_tokens),
        str(line.output_tokens),
        rounded(line.fee),
        rounded(line.expected if dry_run else line.paid),
        rounded(line.fee - line.expected if dry_run else line.unsettled),
        "would be settled" if dry_run and line.expected else line.outcome,
        str(line.gas),
    )


def _show_waits(session: Session, lines: list[UserLine]) -> None:
    waiting: dict[Wait, list[UserLine]] = defaultdict(list)
    for line in lines:
        if line.wait is not None and not (session.dry_run and line.expected):
            waiting[line.wait].append(line)
    for wait, those in waiting.items():
        total = sum(line.unsettled for line in those)
        session.out.line(f"Open  {rounded(total)} of {count(len(those), 'user')}. {wait.value}")
    if waiting:
        session.out.line()


def _show_warnings(session: Session, lines: list[UserLine]) -> None:
    warned = False
    for line in lines:
        warning = line.stake.warning() if line.stake is not None else None
        if warning:
            warned = True
            session.out.line(f"At risk before this run  {session.name(line.user)}: {warning}.", "yellow")
    if warned:
        session.out.line()


def _totals(session: Session, report: Report, lines: list[UserLine]) -> dict[str, str]:
    new = count(report.new_requests, "new request")
    facts = {
        "log": f"{new}, {report.known_requests} known, {report.rejected} rejected{_of_the_log(report)}",
        "open": f"{count(sum(line.requests for line in lines), 'request')} of {count(len(lines), 'user')}",
        "tokens": f"{sum(line.input_tokens for line in lines)} in, {sum(line.output_tokens for line in lines)} out"
        + "".join(f", {number} {kind.replace('_', ' ')}" for kind, number in report.other_units.items()),
        "fee": rounded(report.fee),
    }
    if session.dry_run:
        return facts | {"would be paid": rounded(sum(line.expected for line in lines))}
    facts |= {
        "paid": rounded(report.paid),
        "unsettled": rounded(report.unsettled),
        "settlements": f"{report.settlements} in {count(report.batches, 'transaction')}, {report.replaced} replaced",
        "gas": f"{report.gas_used}, {rounded(report.gas_cost)}",
    }
    if report.taken_up:
        facts["earlier runs"] = (
            f"{count(report.taken_up, 'batch', 'batches')} resumed, {rounded(report.taken_up_paid)} paid"
        )
    return facts


def _of_the_log(report: Report) -> str:
    left_out = f", {report.left_out} left out" if report.left_out else ""
    return left_out + ("" if report.continued_at is None else f", continued at line {report.continued_at}")


def show_outcomes(session: Session, outcomes: Sequence[SettlementResult]) -> None:
    """Print the outcome of each entry and the totals."""
    session.out.table(
        ("user", "status", "fee", "paid", "unsettled"),
        [
            (
                session.name(one.user),
                one.status.name.lower().replace("_", " "),
                rounded(one.fee),
                rounded(one.paid),
                rounded(one.unsettled),
            )
            for one in outcomes
        ],
        empty="There are no settlements.",
    )
    paid, unsettled = sum(one.paid for one in outcomes), sum(one.unsettled for one in outcomes)
    session.out.line(f"Total  {rounded(paid)} paid, {rounded(unsettled)} unsettled")


def outcomes_as_json(outcomes: Sequence[SettlementResult]) -> list[dict[str, Any]]:
    """The outcomes as JSON."""
    return [
        {
            "user": one.user,
            "status": one.status.name,
            "fee": money(one.fee),
            "paid": money(one.paid),
            "unsettled": money(one.unsettled),
        }
        for one in outcomes
    ]
