"""`serving registry list`"""

from dataclasses import asdict

from serving_network.cli.command import reads
from serving_network.cli.deploy.files import DEFAULT_FILES, FILES, record_of
from serving_network.cli.session import Session
from serving_network.cli.times import moment
from serving_network.deployment.registry import list_services
from serving_network.money import describe


@reads
async def list_registered(session: Session, files: FILES = DEFAULT_FILES) -> None:
    """List the services that the ledger knows: versions, what is recommended, who is there, and what they hold.

    Example: serving registry list --network testnet
    """
    found = await list_services(await session.chain(), record_of(session, files).record)
    session.out.result(
        [
            {
                key: str(value) if key in ("holds", "in_accounts", "stakes") and value is not None else value
                for key, value in asdict(one).items()
            }
            for one in found
        ]
    )
    session.out.table(
        ("service", "recommended", "providers", "accounts", "users", "holds", "of it stakes"),
        [
            (
                one.name,
                "yes" if one.recommended else "no",
                *("not ours" if count is None else str(count) for count in (one.providers, one.accounts, one.users)),
                describe(one.holds),
                "unknown" if one.stakes is None else describe(one.stakes),
            )
            for one in found
        ],
        empty="No service is registered.",
    )
    session.out.facts({one.name: f"{one.address}, registered {moment(one.registered_at)}" for one in found})
