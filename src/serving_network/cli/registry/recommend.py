"""`serving registry recommend`"""

from typing import Annotated

import typer

from serving_network.cli.command import writes
from serving_network.cli.deploy.files import DEFAULT_FILES, FILES, record_of, spec_of
from serving_network.cli.deploy.progress import confirm, done_as_json, progress
from serving_network.cli.session import Session
from serving_network.deployment.registry import apply_recommendation, plan_recommendation


@writes
async def recommend(
    session: Session, service: Annotated[str, typer.Argument(help="Its full name.")], files: FILES = DEFAULT_FILES
) -> None:
    """Make a registered version the recommended one of its type, and write it down.

    Example: serving registry recommend inference-v1.1 --network testnet
    """
    chain, file, account = await session.chain(), record_of(session, files), session.signer()
    step = await plan_recommendation(chain, file.record, service, account.address)
    session.out.line(f"step     {step.says}")
    if session.dry_run:
        session.out.result([step.says])
        return
    confirm(session, "Recommend it?")
    done = await apply_recommendation(
        chain,
        account,
        file,
        service,
        fees=await session.fees(),
        progress=progress(session),
        confirmations=spec_of(session, files).confirmations,
    )
    session.out.result(done_as_json(done, []))
