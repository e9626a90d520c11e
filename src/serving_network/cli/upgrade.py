# SPDX-License-Identifier: Apache-2.0
"""`serving upgrade`: replace the code behind a front, put the former code back, and follow instructions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from serving_network.cli.console.command import reads, writes
from serving_network.cli.console.output import EXIT_CHECK_FAILED, money
from serving_network.cli.console.session import Session
from serving_network.cli.files.networks import CONTRACT, DEFAULT_FILES, FILES, hand_out, record_of
from serving_network.cli.parts.plans import done_as_json, id_width, run_plan, show_unfinished
from serving_network.errors import InvalidInput
from serving_network.money import rounded

if TYPE_CHECKING:
    from serving_network.deployment.plan import Plan
    from serving_network.deployment.record import Record
    from serving_network.deployment.record_file import RecordFile

app = typer.Typer(help="Upgrade a contract in place, or roll an upgrade back.")

RENAME = Annotated[
    list[str] | None, typer.Option(help="OLD=NEW: a stored variable was renamed and keeps its meaning. Repeatable.")
]
ARGUMENT = Annotated[
    list[str] | None,
    typer.Option(help="NAME=AMOUNT: a constructor argument to change, in wei or with a unit. Repeatable."),
]


@app.command()
@reads
async def plan(
    session: Session, contract: CONTRACT, rename: RENAME = None, argument: ARGUMENT = None, files: FILES = DEFAULT_FILES
) -> None:
    """Compare the storage layouts, and rehearse the upgrade on a copy of the chain. Sends nothing.

    Example: serving upgrade plan ledger --network testnet
    """
    record = record_of(session, files).record
    made = await _plan_upgrade(session, record, contract, session.own_address(), rename, argument)
    await _show(session, record, made)


@app.command()
@writes
async def apply(
    session: Session, contract: CONTRACT, rename: RENAME = None, argument: ARGUMENT = None, files: FILES = DEFAULT_FILES
) -> None:
    """Rehearse, then put this release's implementation behind a front. Resumes an unfinished upgrade.

    If another account owns the upgrades, only the implementation is deployed, and the remaining call is written for its
    owner: as text, as calldata, and as a file for the Transaction Builder of a Safe.

    Example: serving upgrade apply ledger --network testnet
    """
    file = record_of(session, files)
    made = await _plan_upgrade(session, file.record, contract, session.own_address(), rename, argument)
    await _run(session, file, made, files, "Upgrade?")


@app.command()
@writes
async def rollback(session: Session, contract: CONTRACT, files: FILES = DEFAULT_FILES) -> None:
    """Rehearse, then put the former implementation back. Resumes an unfinished rollback.

    Example: serving upgrade rollback ledger --network testnet
    """
    from serving_network.deployment.upgrade import plan_rollback

    file = record_of(session, files)
    made = await plan_rollback(await session.chain(), file.record, contract, session.own_address())
    await _run(session, file, made, files, "Roll back?")


@app.command()
@reads
async def status(session: Session, files: FILES = DEFAULT_FILES) -> None:
    """Show whether other owners have followed their instructions, and update the record.

    Exits with code 9 if something else was done instead.

    Example: serving upgrade status --network testnet
    """
    from serving_network.deployment.instructions import look_after

    seen = await look_after(await session.chain(), record_of(session, files))
    session.out.result([{"id": one.id, "from": one.sender, "says": one.says, "state": state} for one, state in seen])
    for one, state in seen:
        session.out.line(f"{one.id}: {state}. Instruction for {one.sender}: {one.says}.")
    if not seen:
        session.out.line("No instructions are open.")
    if any(state not in ("done", "not yet") for _, state in seen):
        raise typer.Exit(EXIT_CHECK_FAILED)


async def _plan_upgrade(
    session: Session, record: Record, contract: str, sender: str, rename: list[str] | None, argument: list[str] | None
) -> Plan:
    from serving_network.deployment.upgrade import plan_upgrade

    return await plan_upgrade(
        await session.chain(),
        record,
        contract,
        sender,
        arguments=_pairs(argument, "--argument"),
        renames=_pairs(rename, "--rename"),
    )


async def _run(session: Session, file: RecordFile, made: Plan, files: FILES, question: str) -> None:
    if not made.resumed:
        await _show(session, file.record, made, final=session.dry_run)
    done = await run_plan(session, file, made, files, question)
    if done is None:
        return
    written = hand_out(session, done.instructions, file.record, files)
    session.out.result(done_as_json(done, written))
    running = file.record.contract(made.subject).implementation
    session.out.line(f"{made.subject} runs {running.address}, release {running.release}. Gas used: {done.gas}.")


async def _show(session: Session, record: Record, made: Plan, *, final: bool = True) -> None:
    """Rehearse an upgrade or a rollback, and print both, for programs only if nothing comes after it."""
    from serving_network.deployment.rehearsal import rehearse_upgrade

    out = session.out
    if made.resumed:
        show_unfinished(session, made, final=final)
        return
    shown = await rehearse_upgrade(await session.chain(), record, made)
    if final:
        out.result(
            {
                "contract": made.subject,
                "steps": {step.id: shown.gas[step.id] for step in made.steps},
                "foreign_owner": made.delegated[0].owner if made.delegated else None,
                "appended": list(made.appended),
                "answers": shown.answers,
                "settings": list(shown.settings),
                "books": {"available": money(shown.after.available), "total": money(shown.after.total)},
            }
        )
    running = record.contract(made.subject).implementation
    out.line(f"{made.subject} runs {running.contract} at {running.address}, release {running.release}.")
    out.line(f"Storage: every word keeps its place and meaning. Appended: {', '.join(made.appended) or 'nothing'}.")
    out.line(
        f"Rehearsed on a copy of block {shown.block}: {shown.answers} answers are the same after the change and after"
        " the rollback,"
    )
    out.line(
        f"the books balance ({rounded(shown.after.available)} available, {rounded(shown.after.total)} in total), and"
        " a new user can deposit and withdraw."
    )
    for setting in shown.settings:
        out.line(f"Changes with the code: {setting}")
    width = id_width(made.steps)
    for step in made.steps:
        out.line(f"step     {step.id:<{width}} {shown.gas[step.id]:>9} gas")
    for one in made.delegated:
        out.line(f"then, by {one.owner}: {one.step.says}")


def _pairs(given: list[str] | None, option: str) -> dict[str, str]:
    """The NAME=VALUE texts of a repeated option. Raises InvalidInput."""
    found = {}
    for one in given or []:
        name, sign, value = one.partition("=")
        if not (name and sign and value):
            raise InvalidInput(f"{one!r} is not of the form NAME=VALUE.", next_step=f"Write {option} NAME=VALUE.")
        found[name] = value
    return found
