"""`serving handover accept`"""

from serving_network.cli.command import writes
from serving_network.cli.deploy.files import DEFAULT_FILES, FILES, record_of, spec_of
from serving_network.cli.deploy.progress import confirm, done_as_json, progress, show_pending
from serving_network.cli.handover.show import report
from serving_network.cli.session import Session
from serving_network.deployment.handover import apply_acceptance, ownerships, plan_acceptance


@writes
async def accept(session: Session, files: FILES = DEFAULT_FILES) -> None:
    """Take over everything that is offered to the key in use.

    Example: serving handover accept --network testnet --key foundation
    """
    chain, file, account = await session.chain(), record_of(session, files), session.signer()
    if file.record.pending is not None and session.dry_run:
        show_pending(session, file.record.pending)
        return
    if file.record.pending is None:
        steps = await plan_acceptance(chain, file.record, account.address)
        for step in steps:
            session.out.line(f"step     {step.says}")
        if session.dry_run:
            session.out.result([step.says for step in steps])
            return
        confirm(session, "Accept?")
    done = await apply_acceptance(
        chain,
        account,
        file,
        confirmations=spec_of(session, files).confirmations,
        fees=await session.fees(),
        progress=progress(session),
    )
    session.out.result(done_as_json(done, []))
    if not session.out.as_json:
        report(session, await ownerships(chain, file.record))
