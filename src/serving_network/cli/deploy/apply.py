"""`serving deploy apply`"""

from serving_network.cli.command import writes
from serving_network.cli.deploy.files import DEFAULT_FILES, FILES, hand_out, record_path, spec_of
from serving_network.cli.deploy.plan import record_or_new, show_plan
from serving_network.cli.deploy.progress import confirm, done_as_json, progress
from serving_network.cli.session import Session
from serving_network.deployment.deploy import apply_deployment
from serving_network.deployment.record import RecordFile


@writes
async def apply(session: Session, files: FILES = DEFAULT_FILES) -> None:
    """Deploy what the network's file asks for and the record does not have yet; goes on with what was begun.

    It may be killed at any time: run it again, and it goes on where it stopped, with the very same transactions.

    Example: serving deploy apply --network testnet
    """
    chain, spec = await session.chain(), spec_of(session, files)
    account, path = session.signer(), record_path(session, files)
    record = await record_or_new(chain, session.network.name, spec, path, account.address)
    if session.dry_run or not session.sending.yes:
        anything = await show_plan(session, chain, spec, record, account.address, final=session.dry_run)
        if session.dry_run or not anything:
            return
        confirm(session, "Deploy?")
    done = await apply_deployment(
        chain, account, spec, RecordFile(path, record), fees=await session.fees(), progress=progress(session)
    )
    written = hand_out(session, done.instructions, record, files)
    session.out.result(done_as_json(done, written))
    session.out.line(
        f"Everything in {path} is deployed, verified on chain and written down. Gas used: {done.gas}."
        if done.steps
        else f"Nothing was to be deployed: {path} has it all."
    )
