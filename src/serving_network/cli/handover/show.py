"""`serving handover show`"""

from serving_network.cli.command import reads
from serving_network.cli.deploy.files import DEFAULT_FILES, FILES, record_of
from serving_network.cli.session import Session
from serving_network.deployment.handover import Ownership, ownerships


@reads
async def show(session: Session, files: FILES = DEFAULT_FILES) -> None:
    """Show who owns what, asked of the chain.

    Example: serving handover show --network testnet
    """
    report(session, await ownerships(await session.chain(), record_of(session, files).record))


def report(session: Session, found: list[Ownership]) -> None:
    """Print who owns what: by name where there is one, with the addresses below."""
    named: dict[str, str] = {}

    def who(address: str) -> str:
        name = session.configuration.name_of(address)
        if name is not None:
            named[name] = address
        return name or address

    session.out.result(
        [
            {"contract": one.name, "ownership": one.kind, "owner": one.owner, "offered_to": one.offered_to}
            for one in found
        ]
    )
    session.out.table(
        ("contract", "ownership", "owner", "offered to"),
        [(one.name, one.kind, who(one.owner), who(one.offered_to) if one.offered_to else "nobody") for one in found],
        empty="The network has no contracts yet.",
    )
    session.out.facts(named)
