"""`serving upgrade status`"""

import typer

from serving_network.cli.command import reads
from serving_network.cli.deploy.files import DEFAULT_FILES, FILES, record_of
from serving_network.cli.output import EXIT_CHECK_FAILED
from serving_network.cli.session import Session
from serving_network.deployment.instructions import look_after


@reads
async def status(session: Session, files: FILES = DEFAULT_FILES) -> None:
    """Tell whether others have followed their instructions, as written; writes down what was done.

    Exit code 9 when something else was done instead.

    Example: serving upgrade status --network testnet
    """
    seen = await look_after(await session.chain(), record_of(session, files))
    session.out.result([{"id": one.id, "from": one.sender, "says": one.says, "state": said} for one, said in seen])
    for one, said in seen:
        session.out.line(f"{one.id}: {said}. {one.sender} was to {one.says}.")
    if not seen:
        session.out.line("No instruction is open.")
    if any(said not in ("done", "not yet") for _, said in seen):
        raise typer.Exit(EXIT_CHECK_FAILED)
