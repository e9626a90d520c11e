"""`serving network show`"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from serving_network.chain.transport import without_secrets
from serving_network.cli.complete import complete_network
from serving_network.cli.local import JSON, configuration
from serving_network.cli.output import Output

if TYPE_CHECKING:
    from serving_network.networks import NamedNetwork


def show(
    name: Annotated[
        str | None, typer.Argument(help="The network in use by default.", autocompletion=complete_network)
    ] = None,
    as_json: JSON = False,
) -> None:
    """Show one network: its nodes, chain id and ledger, and where this is kept.

    Example: serving network show testnet
    """
    settings = configuration()
    network = settings.network(name)
    out = Output(as_json)
    out.result(network_as_json(network) | {"file": str(settings.path)})
    out.facts(
        {
            "network": network.name,
            "nodes": ", ".join(without_secrets(url) for url in network.urls),
            "chain id": str(network.chain_id),
            "ledger": network.ledger or "not known",
            "kept in": str(settings.path) if settings.path.exists() else f"built in; {settings.path} may change it",
        }
    )


def network_as_json(network: NamedNetwork) -> dict[str, Any]:
    """A network in JSON; addresses of nodes without their keys."""
    return {
        "name": network.name,
        "urls": [without_secrets(url) for url in network.urls],
        "chain_id": network.chain_id,
        "ledger": network.ledger,
    }
