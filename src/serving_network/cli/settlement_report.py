# SPDX-License-Identifier: Apache-2.0
"""Print the report of a settlement run."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from serving_network.money import describe, format_coins
from serving_network.settlement.report import count

if TYPE_CHECKING:
    from serving_network.cli.output import Output
    from serving_network.cli.session import Session
    from serving_network.settlement.books import BookLine
    from serving_network.settlement.planning import Wait
    from serving_network.settlement.report import Report, UserLine

COLUMNS = ("user", "requests", "input tokens", "output tokens", "fee", "paid", "unsettled", "status", "gas")


def show_report(session: Session, report: Report, rejects: str | None) -> None:
    """Print the users, what must happen first, the notes and the totals."""
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
    if rejects is not None:
        out.line(f"Rejected {count(report.rejected, 'row')} of the log: {rejects}", "yellow")


def show_books(out: Output, books: list[BookLine]) -> None:
    """Print the books, one line per contract."""
    for book in books:
        owed = " + ".join(f"{name} {format_coins(amount)}" for name, amount in book.owed.items())
        verdict = "balanced" if book.surplus == 0 else f"{describe(book.surplus)} more" if book.surplus > 0 else "SHORT"
        out.line(f"{book.contract:<18} holds {format_coins(book.held)} = {owed}: {verdict}")


def _row(session: Session, line: UserLine, dry_run: bool) -> tuple[str, ...]:
    return (
        session.name(line.user),
        str(line.requests),
        str(line.input_tokens),
        str(line.output_tokens),
        format_coins(line.fee),
        format_coins(line.expected if dry_run else line.paid),
        format_coins(line.fee - line.expected if dry_run else line.unsettled),
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
        session.out.line(f"Open  {describe(total)} of {count(len(those), 'user')}. {wait.value}")
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
        "log": f"{new}, {report.known_requests} known, {report.rejected} rejected",
        "open": f"{count(sum(line.requests for line in lines), 'request')} of {count(len(lines), 'user')}",
        "tokens": f"{sum(line.input_tokens for line in lines)} in, {sum(line.output_tokens for line in lines)} out",
        "fee": describe(report.fee),
    }
    if session.dry_run:
        return facts | {"would be paid": describe(sum(line.expected for line in lines))}
    facts |= {
        "paid": describe(report.paid),
        "unsettled": describe(report.unsettled),
        "settlements": f"{report.settlements} in {count(report.batches, 'transaction')}, {report.replaced} replaced",
        "gas": f"{report.gas_used}, {describe(report.gas_cost)}",
    }
    if report.taken_up:
        facts["earlier runs"] = (
            f"{count(report.taken_up, 'batch', 'batches')} resumed, {describe(report.taken_up_paid)} paid"
        )
    return facts
