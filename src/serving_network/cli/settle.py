# SPDX-License-Identifier: Apache-2.0
"""`serving settle`: settle a usage log.

| exit code | meaning |
|---|---|
| 0 | everything is settled |
| 10 | rows of the log were rejected; everything else is settled |
| 11 | some requests are still open; the report says what must happen first |
| 12 | both |
| others | the run failed, with the same codes as for every command; run it again to continue |
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated

import typer

from serving_network.cli.console.arguments import INFERENCE_SERVICE
from serving_network.cli.console.command import settles
from serving_network.cli.console.options import STUCK_AFTER
from serving_network.cli.console.progress_bars import progress_bars
from serving_network.cli.console.session import Session
from serving_network.cli.console.tee_key import TEE_KEY, tee_signer
from serving_network.cli.files.journal import JOURNAL, directory, journal_of, newest_transaction
from serving_network.cli.parts import log_options
from serving_network.cli.parts.log_check import EXIT_REJECTED, show_check
from serving_network.cli.parts.settlement_report import show_report
from serving_network.errors import InvalidInput
from serving_network.files import private_file
from serving_network.messages.usage import Reject
from serving_network.money import parse_wei
from serving_network.settlement.options import Options
from serving_network.store.location import beside
from serving_network.untrusted import printable_json
from serving_network.usage_logs.columns import load_users
from serving_network.usage_logs.reader import MAX_ROW, UsageLog

if TYPE_CHECKING:
    from serving_network.settlement.report import Report

FINAL_DEPTH = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Depth of a final block if the node does not serve the finalized tag. Default: 64, or 1 on a local chain.",
    ),
]
EXIT_UNSETTLED = 11
EXIT_BOTH = 12


@settles
async def settle(
    session: Session,
    usage: Annotated[
        Path | None,
        typer.Argument(help="The usage log: JSON Lines or CSV, plain or gzipped. Default: settle what is open."),
    ] = None,
    service: INFERENCE_SERVICE = "inference",
    tee_key: TEE_KEY = None,
    preset: log_options.PRESET = None,
    mapping: log_options.MAPPING = None,
    columns: log_options.COLUMNS = None,
    skip: log_options.SKIP = None,
    only: log_options.ONLY = None,
    ignore: log_options.IGNORE = None,
    users: Annotated[Path | None, typer.Option(help="A file that maps the log's user names to addresses.")] = None,
    only_user: log_options.USER = "",
    rows: log_options.ROWS = "",
    start: log_options.START = "",
    time_unit: log_options.TIME_UNIT = "",
    last_of_stream: log_options.LAST_OF_STREAM = False,
    id_with_time: log_options.ID_WITH_TIME = False,
    reread: Annotated[
        bool, typer.Option("--reread", help="Read the log from its first line, not from where the last run ended.")
    ] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Show what the first rows say, and end. Needs no network and no key.")
    ] = False,
    log_format: Annotated[
        str | None, typer.Option("--format", help="The log's format: jsonl, csv or json. Default: from the file name.")
    ] = None,
    whole_last_line: Annotated[
        bool, typer.Option("--whole-last-line", help="Accept a last CSV line without a line end.")
    ] = False,
    max_row: Annotated[
        int, typer.Option(min=1, help="Reject rows with more input tokens, or more output tokens, than this.")
    ] = MAX_ROW,
    journal: JOURNAL = None,
    rejects: Annotated[
        Path | None,
        typer.Option(help="The file for rejected rows. Default: in the program's directory, named after the log."),
    ] = None,
    minimum_fee: Annotated[
        int, typer.Option("--min-fee", parser=parse_wei, metavar="AMOUNT", help="Skip users who owe less than this.")
    ] = "0",  # type: ignore[assignment]  # read by the parser, as if it were typed
    max_user_fee: Annotated[
        int | None, typer.Option(parser=parse_wei, metavar="AMOUNT", help="Skip users who owe more than this.")
    ] = None,
    gas_limit: Annotated[int, typer.Option(help="The maximum gas limit of a transaction.")] = Options.gas_limit,
    confirmations: Annotated[int, typer.Option(min=1, help="Book a result once its block is this deep.")] = 1,
    final_depth: FINAL_DEPTH = None,
    interval: Annotated[
        int, typer.Option(min=0, help="Seconds until the next run: users at risk before it are settled first.")
    ] = Options.interval,
    stuck_after: STUCK_AFTER = Options.stuck_after,
    give_up_after: Annotated[
        float, typer.Option(help="Seconds to wait for a transaction. The next run resumes it.")
    ] = Options.give_up_after,
) -> None:
    """Settle a provider's usage log: charge each request to its user once, and pay the provider's wallet.

    You can stop it and run it again at any time.

    Example: serving settle usage.jsonl --key provider --tee-key tee
    """
    from serving_network.settlement.live import LiveChain
    from serving_network.settlement.runner import Settlement

    options = Options(
        minimum_fee=minimum_fee,
        max_user_fee=Options.max_user_fee if max_user_fee is None else max_user_fee,
        max_gas_price=Options.max_gas_price if session.sending.max_fee is None else session.sending.max_fee,
        gas_limit=gas_limit,
        confirmations=confirmations,
        final_depth=final_depth,
        interval=interval,
        stuck_after=stuck_after,
        give_up_after=give_up_after,
        dry_run=session.dry_run,
    )
    layout = log_options.columns_of(
        columns,
        preset,
        mapping,
        {"skip": skip, "only": only, "ignore": ignore},
        {
            "user": only_user,
            "rows": rows,
            "start": start,
            "time_unit": time_unit,
            "last_of_stream": last_of_stream,
            "id_with_time": id_with_time,
        },
    )
    log = functools.partial(
        UsageLog,
        columns=layout,
        users=load_users(users) if users else None,
        log_format=log_options.format_of(log_format),
        whole_last_line=whole_last_line,
        max_row=max_row,
        reread=reread,
    )
    if check:
        if usage is None:
            raise InvalidInput("There is no log to check.", next_step="serving settle --check USAGE")
        await show_check(session, log(usage), preset is None and columns is None)
        return
    chain = await LiveChain.open(
        await session.chain(), session.signer(), session.network.require_ledger(), service=service
    )
    signer = await tee_signer(session, tee_key)
    file = await journal_of(chain, journal)
    rejected = rejects or _rejects_beside(directory(), usage)
    _check_apart(rejected, usage, columns, users, beside(file.path, ""))
    with ExitStack() as held:
        held.enter_context(file.locked())
        opened = held.enter_context(file.copied() if session.dry_run else file.opened())
        reject = held.enter_context(_reject_file(None if session.dry_run else rejected))
        progress = held.enter_context(progress_bars(session))
        run = Settlement(chain, opened, signer, options, reject=reject.add, progress=progress.show)
        try:
            report = await run.run(None if usage is None else log(usage, provider=chain.provider))
        finally:
            session.sent = newest_transaction(opened)
    session.out.result(report.as_dict() | {"dry_run": session.dry_run, "rejects": reject.written()})
    show_report(session, report, reject.written(), reject.first)
    code = _exit_code(session, report)
    if code:
        raise typer.Exit(code)


def _exit_code(session: Session, report: Report) -> int:
    if report.stopped_by is not None:
        session.out.failure(report.stopped_by)
        return report.stopped_by.exit_code
    unsettled = bool(report.unsettled) and not session.dry_run
    if report.rejected:
        return EXIT_BOTH if unsettled else EXIT_REJECTED
    return EXIT_UNSETTLED if unsettled else 0


def _rejects_beside(directory: Path, usage: Path | None) -> Path:
    return directory / "rejected" / f"{usage.name if usage else 'none'}.jsonl"


class _RejectFile:
    """The file of rejected rows, one JSON object per line, created with the first one. Without a path, no file."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.first: Reject | None = None
        self._file: IO[str] | None = None

    def add(self, reject: Reject) -> None:
        self.first = self.first or reject
        if self.path is None:
            return
        if self._file is None:
            private_file(self.path)
            self._file = self.path.open("w", encoding="utf-8")
        self._file.write(printable_json(reject._asdict()) + "\n")

    def written(self) -> str | None:
        return str(self.path) if self._file is not None else None

    def close(self) -> None:
        if self._file is not None:
            self._file.close()


def _check_apart(rejects: Path, *inputs: Path | None) -> None:
    """Raise InvalidInput if the reject file, which every run overwrites, is one of its input files."""
    for one in inputs:
        if one is not None and rejects.resolve() == one.resolve():
            raise InvalidInput(
                f"The rejected rows would overwrite {one}.", next_step="Choose another file with --rejects."
            )


@contextmanager
def _reject_file(path: Path | None) -> Iterator[_RejectFile]:
    if path is not None:
        path.unlink(missing_ok=True)
    file = _RejectFile(path)
    try:
        yield file
    finally:
        file.close()
