"""`serving upgrade apply`"""

from serving_network.cli.command import writes
from serving_network.cli.deploy.files import CONTRACT, DEFAULT_FILES, FILES
from serving_network.cli.session import Session
from serving_network.cli.upgrade.options import ARGUMENT, RENAME, pairs
from serving_network.cli.upgrade.run import run


@writes
async def apply(
    session: Session, contract: CONTRACT, rename: RENAME = None, argument: ARGUMENT = None, files: FILES = DEFAULT_FILES
) -> None:
    """Put this release's implementation behind a front, after rehearsing it; goes on with what was begun.

    Where upgrades belong to somebody else, only the implementation is deployed, and the call that is left is written
    for them: to read, as calldata, and as a file for the Transaction Builder of a Safe.

    Example: serving upgrade apply ledger --network testnet
    """
    await run(
        session,
        contract,
        files,
        rollback=False,
        arguments=pairs(argument, "--argument"),
        renames=pairs(rename, "--rename"),
    )
