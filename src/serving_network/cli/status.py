"""`serving status`"""

from __future__ import annotations

from serving_network.cli.context import Session, reads
from serving_network.cli.output import money
from serving_network.errors import KeyFailure, NodeFailure
from serving_network.money import describe


@reads
async def status(session: Session) -> None:
    """Show which network and key are in use, and whether the node answers.

    Example: serving status
    """
    out = session.out
    told: dict[str, object] = {"network": session.network.name, "chain_id": session.network.chain_id}
    facts = {"network": f"{session.network.name}, chain {session.network.chain_id}"}
    try:
        told["key"] = session.own_address()
        facts["key"] = session.name(session.own_address())
    except KeyFailure as failure:
        told["key"] = None
        facts["key"] = f"none; {failure.next_step}"
    try:
        chain = await session.chain()
        told["block"] = await chain.block_number()
        facts["node"] = f"{chain.where}, block {told['block']}"
        if told["key"] is not None:
            wallet = await chain.balance(str(told["key"]))
            told["wallet"] = money(wallet)
            facts["wallet"] = describe(wallet)
    except NodeFailure as failure:
        told["block"] = None
        facts["node"] = f"{failure} {failure.cause or ''}"
    out.result(told)
    out.facts(facts)
