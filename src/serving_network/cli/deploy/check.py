"""`serving deploy check`"""

import typer

from serving_network.cli.command import reads
from serving_network.cli.deploy.files import DEFAULT_FILES, FILES, record_of
from serving_network.cli.output import EXIT_CHECK_FAILED
from serving_network.cli.session import Session
from serving_network.deployment.check import check_record


@reads
async def check(session: Session, files: FILES = DEFAULT_FILES) -> None:
    """Compare the network's record with the chain, item by item. Exit code 9 where they differ.

    Example: serving deploy check --network testnet
    """
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
        f"{len(findings)} items of the record were compared with the chain: "
        f"{len(differences) or 'none'} differ{'s' if len(differences) < 2 else ''}."
    )
    if differences:
        raise typer.Exit(EXIT_CHECK_FAILED)
