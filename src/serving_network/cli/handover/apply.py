"""`serving handover apply`"""

from serving_network.cli.command import writes
from serving_network.cli.deploy.files import DEFAULT_FILES, FILES, hand_out, record_of, spec_of
from serving_network.cli.deploy.progress import confirm, done_as_json, progress, show_pending
from serving_network.cli.handover.options import HEIR, ONE_STEP, ONLY, WHAT, Ownership
from serving_network.cli.handover.show import report
from serving_network.cli.session import Session
from serving_network.deployment.handover import apply_handover, ownerships, plan_handover


@writes
async def apply(
    session: Session,
    to: HEIR,
    what: WHAT = Ownership.BOTH,
    only: ONLY = None,
    one_step: ONE_STEP = False,
    files: FILES = DEFAULT_FILES,
) -> None:
    """Give ownership to somebody else; goes on with what was begun, and ends with a report of who owns what.

    Example: serving handover apply foundation --what upgrade --network testnet
    """
    chain, file, account, heir = (
        await session.chain(),
        record_of(session, files),
        session.signer(),
        session.address(to),
    )
    if file.record.pending is not None and session.dry_run:
        show_pending(session, file.record.pending)
        return
    if file.record.pending is None:
        steps = await plan_handover(
            chain, file.record, account.address, heir, kinds=what.kinds, names=only or (), two_steps=not one_step
        )
        for step in steps:
            session.out.line(f"step     {step.says}")
        if session.dry_run:
            session.out.result([step.says for step in steps])
            return
        if not await chain.code(heir) and not await chain.balance(heir):
            session.out.line(f"Nobody has ever used {heir} on this chain: make sure that somebody holds its key.")
        confirm(session, "Give it away for good?" if one_step else "Offer it?")
    done = await apply_handover(
        chain,
        account,
        file,
        heir,
        kinds=what.kinds,
        names=only or (),
        two_steps=not one_step,
        confirmations=spec_of(session, files).confirmations,
        fees=await session.fees(),
        progress=progress(session),
    )
    written = hand_out(session, done.instructions, file.record, files)
    session.out.result(done_as_json(done, written))
    if not session.out.as_json:
        session.out.line()
        report(session, await ownerships(chain, file.record))
