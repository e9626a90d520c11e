"""`serving network use`"""

from __future__ import annotations

from typing import Annotated

import typer

from serving_network.cli.complete import complete_network
from serving_network.cli.local import JSON, configuration
from serving_network.cli.network.show import network_as_json
from serving_network.cli.output import Output


def use(
    name: Annotated[str, typer.Argument(help="The network's name.", autocompletion=complete_network)],
    as_json: JSON = False,
) -> None:
    """Use this network from now on.

    Example: serving network use testnet
    """
    network = configuration().use_network(name)
    out = Output(as_json)
    out.result(network_as_json(network))
    out.line(f"In use: {network.name}, chain {network.chain_id}")
