"""`serving network list`"""

from __future__ import annotations

from serving_network.chain.transport import without_secrets
from serving_network.cli.local import JSON, configuration
from serving_network.cli.network.show import network_as_json
from serving_network.cli.output import Output


def list_networks(as_json: JSON = False) -> None:
    """List the networks by name.

    Example: serving network list
    """
    settings = configuration()
    networks = settings.networks()
    in_use = settings.network_in_use
    out = Output(as_json)
    out.result([network_as_json(one) | {"in_use": one.name == in_use} for one in networks])
    out.table(
        ("name", "chain id", "node", "ledger", "in use"),
        [
            (
                one.name,
                str(one.chain_id),
                without_secrets(one.urls[0]) if one.urls else "",
                one.ledger or "",
                "yes" if one.name == in_use else "",
            )
            for one in networks
        ],
        empty="There are no networks.",
    )
