"""`serving network add`"""

from __future__ import annotations

from typing import Annotated

import typer

from serving_network.cli.complete import complete_network
from serving_network.cli.local import JSON, configuration
from serving_network.cli.network.show import network_as_json
from serving_network.cli.output import Output
from serving_network.errors import InvalidInput, UnknownName
from serving_network.networks import BUILT_IN, NamedNetwork, parse_address


def add(
    name: Annotated[str, typer.Argument(help="A name for the network.", autocompletion=complete_network)],
    url: Annotated[
        list[str] | None, typer.Option("--url", help="A node's address; several take over from each other.")
    ] = None,
    chain_id: Annotated[int | None, typer.Option(help="The chain's id, checked at every connection.")] = None,
    ledger: Annotated[str | None, typer.Option(help="The front of the network's LedgerManager.")] = None,
    as_json: JSON = False,
) -> None:
    """Add a network, or change one: what is left out stays as it is.

    Example: serving network add mine --url https://node.example --chain-id 16602 --ledger 0x9fE4...
    """
    settings = configuration()
    known: NamedNetwork | None
    try:
        known = settings.network(name)
    except UnknownName:
        known = BUILT_IN.get(name)
    urls = tuple(url) if url else known.urls if known else ()
    chain = chain_id if chain_id is not None else known.chain_id if known else None
    if not urls or chain is None:
        raise InvalidInput("A new network needs --url and --chain-id.", next_step="serving network add --help")
    network = NamedNetwork(name, urls, chain, parse_address(ledger) if ledger else known.ledger if known else None)
    settings.save_network(network)
    out = Output(as_json)
    out.result(network_as_json(network))
    out.line(f"Saved in {settings.path}. Use it with: serving network use {name}")
