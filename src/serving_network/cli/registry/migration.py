"""`serving registry migration`"""

from typing import Annotated

import typer

from serving_network.cli.command import reads
from serving_network.cli.deploy.files import DEFAULT_FILES, FILES, record_of
from serving_network.cli.output import money
from serving_network.cli.session import Session
from serving_network.cli.times import moment
from serving_network.deployment.registry import plan_migration
from serving_network.money import describe


@reads
async def migration(
    session: Session,
    left: Annotated[str, typer.Argument(help="The version that users leave.")],
    entered: Annotated[str, typer.Argument(help="The version that they go to.")],
    files: FILES = DEFAULT_FILES,
) -> None:
    """Show how much of whom is still in one version, and what each user has to do to get to the next.

    Example: serving registry migration inference-v1.0 inference-v1.1 --network testnet
    """
    moves = await plan_migration(await session.chain(), record_of(session, files).record, left, entered)
    session.out.result(
        [
            {
                "user": one.user,
                "provider": one.provider,
                "balance": money(one.balance),
                "asked_back": money(one.pending),
                "unlocks_at": one.unlocks_at,
                "provider_has_moved": one.provider_has_moved,
                "steps": list(one.steps),
            }
            for one in moves
        ]
    )
    for one in moves:
        unlocks = f", {describe(one.pending)} asked back until {moment(one.unlocks_at)}" if one.unlocks_at else ""
        session.out.line(
            f"{session.name(one.user)} has {describe(one.balance)} with {session.name(one.provider)}{unlocks}"
        )
        session.out.line(f"  to do: {', '.join(one.steps)}")
    session.out.line(
        f"In {left}: {describe(sum(one.balance for one in moves))}; users: "
        f"{len({one.user for one in moves})}, providers: {len({one.provider for one in moves})}."
    )
