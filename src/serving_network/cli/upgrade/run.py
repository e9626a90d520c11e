"""An upgrade or a rollback from the command line: shown, confirmed, sent, written down."""

from collections.abc import Mapping
from pathlib import Path

from serving_network.cli.deploy.files import hand_out, record_of, spec_of
from serving_network.cli.deploy.progress import confirm, done_as_json, progress, show_pending
from serving_network.cli.session import Session
from serving_network.cli.upgrade.plan import show_upgrade
from serving_network.deployment.upgrade import apply_upgrade


async def run(
    session: Session,
    contract: str,
    files: Path,
    *,
    rollback: bool,
    arguments: Mapping[str, str] | None = None,
    renames: Mapping[str, str] | None = None,
) -> None:
    """Rehearse, ask, do it. What was begun is gone on with, without another rehearsal."""
    chain, file, account = await session.chain(), record_of(session, files), session.signer()
    if file.record.pending is None:
        await show_upgrade(
            session,
            chain,
            file.record,
            contract,
            account.address,
            rollback=rollback,
            arguments=arguments,
            renames=renames,
            final=session.dry_run,
        )
    elif session.dry_run:
        show_pending(session, file.record.pending)
    if session.dry_run:
        return
    if file.record.pending is None:
        confirm(session, "Roll back?" if rollback else "Upgrade?")
    done = await apply_upgrade(
        chain,
        account,
        file,
        contract,
        rollback=rollback,
        arguments=arguments,
        renames=renames,
        confirmations=spec_of(session, files).confirmations,
        fees=await session.fees(),
        progress=progress(session),
    )
    written = hand_out(session, done.instructions, file.record, files)
    session.out.result(done_as_json(done, written))
    running = file.record.contract(contract).implementation
    session.out.line(f"{contract} runs {running.address}, release {running.release}. Gas used: {done.gas}.")
