"""`serving upgrade rollback`"""

from serving_network.cli.command import writes
from serving_network.cli.deploy.files import CONTRACT, DEFAULT_FILES, FILES
from serving_network.cli.session import Session
from serving_network.cli.upgrade.run import run


@writes
async def rollback(session: Session, contract: CONTRACT, files: FILES = DEFAULT_FILES) -> None:
    """Put the former implementation back, after rehearsing it.

    Example: serving upgrade rollback ledger --network testnet
    """
    await run(session, contract, files, rollback=True)
