"""`serving setting show`"""

from __future__ import annotations

from serving_network.cli.arguments import INFERENCE_SERVICE
from serving_network.cli.context import Session, reads
from serving_network.cli.output import money
from serving_network.cli.times import span
from serving_network.money import describe


@reads
async def show(session: Session, service: INFERENCE_SERVICE = "inference") -> None:
    """Show what the owner set: owners, minimums, lock time, penalty.

    Example: serving setting show
    """
    network = await session.reader()
    found = await network.service(service)
    told = await network.settings(service)
    least_ledger, least_transfer = await network.minimums()
    ledger_owner = await network.ledger_contract.read("owner")
    session.out.result(
        {
            "ledger": {
                "address": network.ledger_contract.address,
                "owner": ledger_owner,
                "minimum_deposit": money(least_ledger),
                "minimum_transfer": money(least_transfer),
            },
            "service": {
                "name": found.name,
                "address": found.address,
                "owner": told["owner"],
                "lock_time_seconds": told["lockTime"],
                "provider_stake": money(told["MIN_PROVIDER_STAKE"]),
                "penalty_percent": told.get("penaltyPercentage"),
            },
        }
    )
    facts = {
        "ledger": network.ledger_contract.address,
        "ledger's owner": session.name(ledger_owner),
        "least to open a ledger": describe(least_ledger),
        "least to fund a new provider": describe(least_transfer),
        "service": f"{found.name} {found.address}",
        "service's owner": session.name(told["owner"]),
        "lock time": span(told["lockTime"]),
        "stake of a provider": describe(told["MIN_PROVIDER_STAKE"]),
    }
    if "penaltyPercentage" in told:
        facts["penalty"] = f"{told['penaltyPercentage']} %"
    session.out.facts(facts)
