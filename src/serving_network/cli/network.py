# SPDX-License-Identifier: Apache-2.0
"""`serving network`: networks by name."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from serving_network.cli.console.complete import complete_network
from serving_network.cli.console.home import Home
from serving_network.cli.console.options import JSON, YES
from serving_network.cli.console.output import Output
from serving_network.cli.console.overriding import note_network_variable
from serving_network.cli.console.prompts import ask_to_remove
from serving_network.errors import InvalidInput, UnknownName
from serving_network.networks import BUILT_IN, NamedNetwork, parse_address
from serving_network.untrusted import without_secrets

app = typer.Typer(help="Manage the networks that you can use by name.")

NAME = Annotated[str, typer.Argument(metavar="NAME", help="The network's name.", autocompletion=complete_network)]


@app.command()
def add(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="A name for the network.", autocompletion=complete_network)
    ],
    url: Annotated[
        list[str] | None, typer.Option("--url", help="A node's URL. Repeat for nodes to fall back to.")
    ] = None,
    chain_id: Annotated[int | None, typer.Option(help="The chain id, checked with every connection.")] = None,
    ledger: Annotated[str | None, typer.Option(help="The address of the network's LedgerManager.")] = None,
    as_json: JSON = False,
) -> None:
    """Add a network, or change one. Options that you omit keep their values.

    Example: serving network add mine --url https://node.example --chain-id 16602 --ledger 0x9fE4...
    """
    files = Home.open()
    known: NamedNetwork | None
    try:
        known = files.network(name)
    except UnknownName:
        known = BUILT_IN.get(name)
    urls = tuple(url) if url else known.urls if known else ()
    chain = chain_id if chain_id is not None else known.chain_id if known else None
    if not urls or chain is None:
        raise InvalidInput("A new network needs --url and --chain-id.", next_step="serving network add --help")
    network = NamedNetwork(name, urls, chain, parse_address(ledger) if ledger else known.ledger if known else None)
    files.save_network(network)
    out = Output(as_json)
    out.result(_as_json(network))
    if files.network_in_use == name:
        out.line(f"Saved in {files.path}. It is in use.")
        note_network_variable(out, name)
    else:
        out.line(f"Saved in {files.path}. To use it: serving network use {name}")


@app.command("list")
def list_networks(as_json: JSON = False) -> None:
    """List the networks.

    Example: serving network list
    """
    files = Home.open()
    networks = files.networks()
    in_use = files.network_in_use
    out = Output(as_json)
    out.result([_as_json(one) | {"in_use": one.name == in_use} for one in networks])
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
    note_network_variable(out, in_use)
    if unknown := [one.name for one in networks if one.ledger is None]:
        out.note(
            f"No ledger is known for {' and '.join(unknown)}. Get its address from the network's owner: "
            "serving network add NAME --ledger ADDRESS"
        )


@app.command()
def show(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="NAME", help="The network's name. Default: the network in use.", autocompletion=complete_network
        ),
    ] = None,
    as_json: JSON = False,
) -> None:
    """Show one network: its nodes, chain id and ledger, and the file that defines it.

    Example: serving network show testnet
    """
    files = Home.open()
    network = files.network(name)
    out = Output(as_json)
    out.result(_as_json(network) | {"file": str(files.path)})
    out.facts(
        {
            "network": network.name,
            "nodes": ", ".join(without_secrets(url) for url in network.urls),
            "chain id": str(network.chain_id),
            "ledger": network.ledger or "not set",
            "file": str(files.path) if files.path.exists() else f"none; {files.path} can override the built-in values",
        }
    )


@app.command()
def use(name: NAME, as_json: JSON = False) -> None:
    """Use this network from now on.

    Example: serving network use testnet
    """
    network = Home.open().use_network(name)
    out = Output(as_json)
    out.result(_as_json(network))
    out.line(f"In use: {network.name}, chain {network.chain_id}")
    note_network_variable(out, network.name)


@app.command()
def remove(name: NAME, yes: YES = False, as_json: JSON = False) -> None:
    """Remove a network that you added. A built-in network returns to its built-in values.

    Example: serving network remove mine
    """
    ask_to_remove(f"This removes the network {name!r}.", yes)
    Home.open().remove_network(name)
    out = Output(as_json)
    out.result({"removed": name})
    out.line(f"Removed {name}.")


def _as_json(network: NamedNetwork) -> dict[str, Any]:
    return {
        "name": network.name,
        "urls": [without_secrets(url) for url in network.urls],
        "chain_id": network.chain_id,
        "ledger": network.ledger,
    }
