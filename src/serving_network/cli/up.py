# SPDX-License-Identifier: Apache-2.0
"""`serving up`: a chain on this machine with the whole network deployed on it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from serving_network.cli.console.node import Node
from serving_network.errors import InvalidInput


def up(
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="The port for JSON-RPC and WebSocket. 0 picks a free one.")
    ] = 8545,
    host: Annotated[
        str, typer.Option(help="The address to listen on. The default is reachable from this machine only.")
    ] = ("127.0.0.1"),
    state: Annotated[
        Path | None, typer.Option(help="Keep the chain in this directory, and resume it next time.")
    ] = None,
    block_time: Annotated[
        float | None, typer.Option(min=0.05, help="Seconds between blocks. Default: a block per transaction.")
    ] = None,
    node: Annotated[Node, typer.Option(help="The chain in this process, or anvil if it is installed.")] = Node.EMBEDDED,
    proofs: Annotated[
        bool, typer.Option("--proofs", help="Answer eth_getProof, which makes each block slower. Anvil always does.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the network as one line of JSON.")] = False,
    gateway: Annotated[
        bool, typer.Option("--gateway", help="Add a provider with a gateway, and a user who can pay it.")
    ] = False,
    gateway_port: Annotated[
        int, typer.Option(min=0, max=65535, help="The port of the gateway. 0 picks a free one.")
    ] = 3080,
    upstream: Annotated[
        str | None,
        typer.Option(help="The base URL of the gateway's model server, with its /v1. Default: a stand-in."),
    ] = None,
    explore: Annotated[bool, typer.Option("--explore", help="Show the network in a browser, too.")] = False,
    explore_port: Annotated[
        int, typer.Option(min=0, max=65535, help="The port of the explorer. 0 picks a free one.")
    ] = 4000,
    empty: Annotated[
        bool, typer.Option("--empty", help="Deploy no contracts: an owner tries serving deploy there.")
    ] = False,
) -> None:
    """Start a local network: a chain with all contracts deployed and registered, and ten funded accounts.

    Example: serving up --state ./my-network
    """
    if upstream is not None and not gateway:
        raise InvalidInput("Only a gateway has an upstream.", next_step="Add --gateway.")
    if empty and (gateway or explore):
        raise InvalidInput("An empty chain has no network to sell on or to show.", next_step="Omit --empty.")
    from serving_network.cli.parts.local_network import run

    asyncio.run(
        run(
            port,
            host,
            state,
            block_time,
            node,
            proofs,
            as_json,
            gateway_port if gateway else None,
            upstream,
            explore_port if explore else None,
            empty,
        )
    )
