"""`serving handover rehearse`"""

import typer

from serving_network.cli.command import reads
from serving_network.cli.deploy.files import DEFAULT_FILES, FILES, record_of
from serving_network.cli.handover.options import HEIR, ONE_STEP, ONLY, WHAT, Ownership
from serving_network.cli.output import EXIT_CHECK_FAILED
from serving_network.cli.session import Session
from serving_network.deployment.handover import plan_handover, rehearse_handover


@reads
async def rehearse(
    session: Session,
    to: HEIR,
    what: WHAT = Ownership.BOTH,
    only: ONLY = None,
    one_step: ONE_STEP = False,
    files: FILES = DEFAULT_FILES,
) -> None:
    """Hand over on a copy of the chain, then try as the old owner all that the ownership allowed. Sends nothing.

    Example: serving handover rehearse foundation --what upgrade --network testnet
    """
    chain, record, sender = await session.chain(), record_of(session, files).record, session.own_address()
    steps = await plan_handover(
        chain, record, sender, session.address(to), kinds=what.kinds, names=only or (), two_steps=not one_step
    )
    powers = await rehearse_handover(chain, record, steps, sender)
    session.out.result([{"contract": one.name, "power": one.says, "refusal": one.refusal} for one in powers])
    session.out.line(f"After the handover, tried on a copy of the chain, {session.name(sender)} can no longer:")
    for one in powers:
        session.out.line(f"  {one.name}: {one.says}" + (f" ({one.refusal})" if one.refusal else " - BUT STILL CAN"))
    if any(one.refusal is None for one in powers):
        raise typer.Exit(EXIT_CHECK_FAILED)
