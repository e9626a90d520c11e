# SPDX-License-Identifier: Apache-2.0
"""`serving deploy`: deploy a network, compare its record with the chain, and show the record."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from serving_network.cli.console.command import reads, writes
from serving_network.cli.console.output import EXIT_CHECK_FAILED
from serving_network.cli.console.prompts import ask_to_go_on
from serving_network.cli.console.session import Session
from serving_network.cli.files.networks import (
    DEFAULT_FILES,
    FILES,
    hand_out,
    record_if_any,
    record_of,
    record_path,
    spec_of,
)
from serving_network.cli.parts.plans import done_as_json, highest_cost, id_width, run_plan, show_unfinished
from serving_network.counting import count
from serving_network.money import describe
from serving_network.networks import parse_address

if TYPE_CHECKING:
    from serving_network.deployment.plan import Plan
    from serving_network.deployment.record import Record
    from serving_network.deployment.record_file import RecordFile

app = typer.Typer(help="Deploy a network, and compare its record with the chain.")


@app.command()
@reads
async def plan(
    session: Session,
    files: FILES = DEFAULT_FILES,
    example: Annotated[
        bool, typer.Option("--example", help="Print an example of the network's file. Plan nothing.")
    ] = False,
) -> None:
    """Show what is deployed, and the steps that would deploy the rest, with their gas. Sends nothing.

    The plan is rehearsed on a copy of the chain, so gas and addresses are those of the actual run.

    Example: serving deploy plan --network testnet
    """
    if example:
        from serving_network.deployment.spec import EXAMPLE

        text = EXAMPLE.replace("chain_id = 31337", f"chain_id = {session.network.chain_id}")
        session.out.result({"file": text})
        session.out.document(text)
        return
    file, made = await _plan(session, files, session.own_address())
    if second := await _second_network(session, files):
        session.out.note(second, "yellow")
    await _show(session, file.record, made)


@app.command()
@writes
async def apply(session: Session, files: FILES = DEFAULT_FILES) -> None:
    """Deploy what is in the network's file and not in its record. Resumes an unfinished deployment.

    It is safe to kill this command at any time: the next run resumes with the same transactions.

    Example: serving deploy apply --network testnet
    """
    file, made = await _plan(session, files, session.own_address())
    if (second := await _second_network(session, files)) and not session.dry_run:
        session.out.note(second, "yellow")
        if not session.sending.yes:
            ask_to_go_on("Deploy a second network?")
    if (session.dry_run or not session.sending.yes) and not await _show(
        session, file.record, made, final=session.dry_run
    ):
        return
    done = await run_plan(session, file, made, files, "Deploy?", shown=True)
    if done is None:
        return
    written = hand_out(session, done.instructions, file.record, files)
    session.out.result(done_as_json(done, written))
    session.out.line(
        f"Deployed everything in {file.path} and verified it on chain. Gas used: {done.gas}."
        if done.steps
        else f"Nothing to deploy: everything is in {file.path}."
    )
    _remember(session, file.record)


@app.command()
@reads
async def check(session: Session, files: FILES = DEFAULT_FILES) -> None:
    """Compare the network's record with the chain, item by item. Exits with code 9 if they differ.

    Example: serving deploy check --network testnet
    """
    from serving_network.deployment.check import check_record

    record = record_of(session, files).record
    findings = await check_record(await session.chain(), record)
    differences = [one for one in findings if one.difference is not None]
    session.out.result(
        {
            "checked": len(findings),
            "differences": [{"item": one.item, "difference": one.difference} for one in differences],
        }
    )
    for one in differences:
        session.out.line(f"{one.item}: {one.difference}")
    session.out.line(
        f"Compared {count(len(findings), 'item')} of the record with the chain: "
        f"{count(len(differences), 'difference') if differences else 'no differences'}."
    )
    if differences:
        raise typer.Exit(EXIT_CHECK_FAILED)


@app.command()
@reads
async def show(session: Session, files: FILES = DEFAULT_FILES) -> None:
    """Show the record of the network: addresses, versions, owners, and what each contract replaced.

    Example: serving deploy show --network testnet
    """
    record = record_of(session, files).record
    session.out.result(record.model_dump(mode="json"))
    for name, contract in record.contracts.items():
        running = contract.implementation
        session.out.line(name, "bold")
        session.out.facts(
            {
                "  front": contract.front.address,
                "  beacon": contract.beacon.address,
                "  implementation": f"{running.address} ({running.contract}, release {running.release})",
                "  built with": ", ".join(
                    f"{key} = {describe(int(value))}" for key, value in running.arguments.items()
                ),
                "  initialised with": ", ".join(f"{key} = {value}" for key, value in contract.initial.items()),
                "  in block": str(contract.front.mined.block),
                "  owner": contract.owner,
                "  upgrade owner": contract.upgrade_owner,
                "  clients, providers": f"{contract.clients or 'any'}, {contract.providers or 'any'}",
                "  replaced": ", ".join(one.address for one in contract.former) or "nothing",
            }
        )
    if record.pending is not None:
        session.out.line(f"{record.pending.title} is not finished.")


async def _second_network(session: Session, files: FILES) -> str | None:
    """The warning that the configured ledger answers, but is not the one to be deployed; None if there is none."""
    if session.network.ledger is None or record_if_any(session, files) is not None:
        return None
    if not await (await session.reader()).answers():
        return None
    return (
        f"The network {session.network.name!r} has a ledger, {session.network.ledger}, and no record in {files}: "
        "this deploys a second network beside it."
    )


def _remember(session: Session, record: Record) -> None:
    """Enter the ledger into the configuration, so that every command finds the network."""
    name, ledger = session.network.name, parse_address(record.contracts["ledger"].front.address)
    if session.network.ledger != ledger:
        session.configuration.save_network(replace(session.network, ledger=ledger))
        session.out.line(f"Saved the ledger {ledger} for the network {name}: every command finds it now.")
    if session.configuration.network_in_use != name:
        session.out.line(f"To use it: serving network use {name}")


async def _plan(session: Session, files: FILES, sender: str) -> tuple[RecordFile, Plan]:
    """The record, a new one if nothing is deployed yet, and what is missing."""
    from serving_network.deployment.deploy import new_record, plan_deployment
    from serving_network.deployment.record_file import RecordFile

    chain, spec = await session.chain(), spec_of(session, files)
    file = record_if_any(session, files)
    if file is None:
        record = await new_record(chain, session.network.name, spec, sender)
        file = RecordFile(record_path(session, files), record)
    return file, await plan_deployment(chain, spec, file.record, sender)


async def _show(session: Session, record: Record, made: Plan, *, final: bool = True) -> bool:
    """Print the plan, for programs only if nothing comes after it; returns whether there is anything to do."""
    from serving_network.deployment.rehearsal import rehearse_deployment

    out = session.out
    if made.resumed:
        show_unfinished(session, made, final=final)
        return True
    gas, addresses = await rehearse_deployment(await session.chain(), record, made)
    cost, reported = await highest_cost(session, sum(gas.values()))
    if final:
        out.result(
            {
                "network": record.network,
                "chain_id": record.chain_id,
                "sender": made.sender,
                "exists": {name: contract.front.address for name, contract in record.contracts.items()},
                "steps": [
                    {"id": step.id, "says": step.says, "gas": gas[step.id], "address": addresses.get(step.id)}
                    for step in made.steps
                ],
                "for_others": [{"id": one.step.id, "says": one.step.says} for one in made.delegated],
                "notes": list(made.notes),
                **cost,
            }
        )
    for name, contract in record.contracts.items():
        out.line(f"exists   {name:<22} {contract.front.address}")
    width = id_width(made.steps)
    for place, step in enumerate(made.steps, 1):
        where = f"  {addresses[step.id]}" if step.action == "create" else ""
        out.line(f"step {place:>2}  {step.id:<{width}} {gas[step.id]:>9} gas{where}")
    for one in made.delegated:
        out.line(f"then, by {one.owner}: {one.step.says}")
    for note in made.notes:
        out.line(f"note     {note}")
    if made.steps:
        out.line(f"Sender {made.sender}: {reported}.")
    elif not made.delegated:
        out.line("Nothing to deploy.")
    return bool(made.steps or made.delegated)
