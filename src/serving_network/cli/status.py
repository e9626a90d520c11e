# SPDX-License-Identifier: Apache-2.0
"""`serving status`: the network and the key in use."""

from __future__ import annotations

from serving_network.cli.console.command import reads
from serving_network.cli.console.output import money
from serving_network.cli.console.session import Session
from serving_network.errors import KeyFailure, NodeFailure
from serving_network.money import rounded


@reads
async def status(session: Session) -> None:
    """Show which network and key are in use, and whether the node answers.

    Example: serving status
    """
    out = session.out
    result: dict[str, object] = {"network": session.network.name, "chain_id": session.network.chain_id}
    facts = {"network": f"{session.network.name}, chain {session.network.chain_id}"}
    try:
        result["key"] = session.own_address()
        facts["key"] = session.name(session.own_address())
    except KeyFailure as failure:
        result["key"] = None
        facts["key"] = f"none ({failure.next_step})"
    try:
        chain = await session.chain()
        result["block"] = await chain.block_number()
        facts["node"] = f"{chain.where}, block {result['block']}"
        if result["key"] is not None:
            wallet = await chain.balance(str(result["key"]))
            result["wallet"] = money(wallet)
            facts["wallet"] = rounded(wallet)
    except NodeFailure as failure:
        result["block"] = None
        facts["node"] = f"{failure} {failure.cause or ''}"
    out.result(result)
    out.facts(facts)
