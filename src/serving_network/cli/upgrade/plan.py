"""`serving upgrade plan`"""

from collections.abc import Mapping

from serving_network.chain.connection import AsyncConnection
from serving_network.cli.command import reads
from serving_network.cli.deploy.files import CONTRACT, DEFAULT_FILES, FILES, record_of
from serving_network.cli.output import money
from serving_network.cli.session import Session
from serving_network.cli.upgrade.options import ARGUMENT, RENAME, pairs
from serving_network.deployment.record import Record
from serving_network.deployment.rehearsal import rehearse_upgrade
from serving_network.deployment.upgrade import UpgradePlan, plan_rollback, plan_upgrade
from serving_network.money import describe


@reads
async def plan(
    session: Session, contract: CONTRACT, rename: RENAME = None, argument: ARGUMENT = None, files: FILES = DEFAULT_FILES
) -> None:
    """Compare the storage layouts, and rehearse the upgrade on a copy of the chain. Sends nothing.

    Example: serving upgrade plan ledger --network testnet
    """
    record = record_of(session, files).record
    await show_upgrade(
        session,
        await session.chain(),
        record,
        contract,
        session.own_address(),
        arguments=pairs(argument, "--argument"),
        renames=pairs(rename, "--rename"),
    )


async def show_upgrade(
    session: Session,
    chain: AsyncConnection,
    record: Record,
    name: str,
    sender: str,
    *,
    rollback: bool = False,
    arguments: Mapping[str, str] | None = None,
    renames: Mapping[str, str] | None = None,
    final: bool = True,
) -> UpgradePlan:
    """Plan and rehearse an upgrade or a rollback, and print both, for programs only where nothing comes after it."""
    out = session.out
    made = (
        await plan_rollback(chain, record, name, sender)
        if rollback
        else await plan_upgrade(chain, record, name, sender, arguments=arguments, renames=renames)
    )
    shown = await rehearse_upgrade(chain, record, made, sender)
    if final:
        out.result(
            {
                "contract": name,
                "steps": {step.id: shown.gas[step.id] for step in made.steps},
                "foreign_owner": made.foreign_owner,
                "appended": list(made.appended),
                "answers": shown.answers,
                "settings": list(shown.settings),
                "books": {"available": money(shown.after.available), "total": money(shown.after.total)},
            }
        )
    running = record.contract(name).implementation
    out.line(f"{name} runs {running.contract} at {running.address}, release {running.release}.")
    out.line(f"Storage: every word keeps its place and meaning; appended: {', '.join(made.appended) or 'nothing'}.")
    out.line(
        f"Rehearsed on a copy of block {shown.block}: {shown.answers} answers are the same after the change and "
        "after taking it back,"
    )
    out.line(
        f"the books balance ({describe(shown.after.available)} available, {describe(shown.after.total)} in "
        "total), a newcomer can deposit and leave."
    )
    for setting in shown.settings:
        out.line(f"Changes with the code: {setting}")
    for step in made.steps:
        out.line(f"step     {step.id:<38} {shown.gas[step.id]:>9} gas")
    if made.foreign_owner is not None:
        out.line(f"then, by {made.foreign_owner}: {made.call.says}")
    return made
