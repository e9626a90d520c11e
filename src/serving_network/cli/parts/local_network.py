# SPDX-License-Identifier: Apache-2.0
"""The network that `serving up` runs: its chain, its contracts, and what is printed about it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import socket
from collections.abc import AsyncIterator
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import typer

from serving_network.chain.connection import AsyncConnection
from serving_network.cli.console.node import Node
from serving_network.cli.console.stopping import on_stop
from serving_network.demo.selling import PROVIDER, TEE, USER, LocalGateway, local_gateway
from serving_network.deployment.local import LOCAL, deploy_local_network
from serving_network.errors import ConfigurationError, NodeFailure, NodeUnreachable
from serving_network.files import SHORT_WAIT, lock, write_whole
from serving_network.localchain import EmbeddedChain
from serving_network.localchain.accounts import DERIVATION_PATH, MNEMONIC, development_keys
from serving_network.localchain.server import ChainServer, PortUnavailable
from serving_network.localchain.store import FILE_NAME as CHAIN_FILE_NAME
from serving_network.networks import BUILT_IN
from serving_network.untrusted import printable
from serving_network.wallet.local import LocalSigner

Contracts = dict[str, str]
"""The address of each deployed contract, by name."""

COINS = 1_000_000
RECORD_NAME = "network.json"
ANVIL_STATE_NAME = "anvil.json"
NODE_NAME = "node.txt"
ANVIL_HINT = "anvil is installed; to run the network on it: serving up --node anvil"
ANVIL_START_SECONDS = 20.0
ANVIL_STOP_SECONDS = 10.0
NEXT = (
    "Next, in another terminal",
    "  serving key new main      makes a key",
    "  serving local fund main   gives it coins",
    "  serving doctor            says what comes next",
)


async def run(
    port: int,
    host: str,
    state: Path | None,
    block_time: float | None,
    node: Node,
    proofs: bool,
    as_json: bool,
    gateway_port: int | None,
    upstream: str | None,
    explore_port: int | None,
    empty: bool,
) -> None:
    """Start the network, print how to use it, and keep it running until the program is stopped."""
    stop = asyncio.Event()
    on_stop(stop.set)
    is_new = state is None or _remember(state, node)
    start = partial(_embedded, proofs) if node is Node.EMBEDDED else _anvil
    async with start(host, port, state, block_time, empty, stop) as (url, contracts):
        if contracts is not None:
            async with contextlib.AsyncExitStack() as held:
                gateway = None
                if gateway_port is not None:
                    chosen = _free_port(
                        "127.0.0.1", gateway_port, f"serving up --gateway --gateway-port {gateway_port + 1}"
                    )
                    gateway = await held.enter_async_context(local_gateway(url, chosen, state, upstream))
                explorer = None
                if explore_port is not None:
                    explorer = await held.enter_async_context(_explored(url, explore_port, gateway))
                show = _as_json if as_json else _as_text
                typer.echo(show(url, contracts, node, state, gateway, explorer))
                if is_new and node is Node.EMBEDDED and not as_json and shutil.which("anvil"):
                    typer.echo(ANVIL_HINT, err=True)
                await stop.wait()
    if not as_json:
        typer.echo("Stopped." if state is None else f"Stopped. The network is saved in {state}.")


def _explored(url: str, port: int, gateway: LocalGateway | None) -> contextlib.AbstractAsyncContextManager[str]:
    """The explorer of this network, with the dashboard of its gateway."""
    from serving_network.cli.parts.dashboard import dashboard
    from serving_network.demo.exploring import explored

    return explored(url, port, {} if gateway is None else dashboard(gateway.store))


def _remember(state: Path, node: Node) -> bool:
    """Note which node's chain is in the directory. Returns whether it is a new one.

    Raises ConfigurationError if the directory has the chain of another node.
    """
    path = state / NODE_NAME
    with lock(state / f".{NODE_NAME}.lock", f"The chain in {state} is in use by another process.", wait=SHORT_WAIT):
        files = {Node.EMBEDDED: state / CHAIN_FILE_NAME, Node.ANVIL: state / ANVIL_STATE_NAME}
        known = path.read_text("utf-8").strip() if path.exists() else None
        # Earlier versions wrote no note.
        known = known or next((one.value for one, file in files.items() if file.exists()), None)
        if known not in (None, node.value):
            raise ConfigurationError(
                f"The chain in {state} is of another node: {printable(known)}.",
                cause="No node reads the chain of another one.",
                next_step=f"Pass --node {printable(known)}, or use another directory for --state.",
            )
        write_whole(path, f"{node.value}\n")
    return known is None


@contextlib.asynccontextmanager
async def _embedded(
    proofs: bool, host: str, port: int, state: Path | None, block_time: float | None, empty: bool, stop: asyncio.Event
) -> AsyncIterator[tuple[str, Contracts | None]]:
    chain = EmbeddedChain(chain_id=LOCAL.chain_id, coins=COINS, state=state, proofs=proofs)
    server = ChainServer(chain, host, port)
    try:
        await server.start()
        async with await AsyncConnection.open(chain, LOCAL.chain_id) as connection:
            contracts = await _unless_stopped(_contracts_on(connection, state, empty), stop)
        if contracts is not None and block_time is not None:
            await server.mine_every(block_time)
        yield server.url, contracts
    finally:
        await server.stop()
        chain.close()


@contextlib.asynccontextmanager
async def _anvil(
    host: str, port: int, state: Path | None, block_time: float | None, empty: bool, stop: asyncio.Event
) -> AsyncIterator[tuple[str, Contracts | None]]:
    program = shutil.which("anvil")
    if program is None:
        raise ConfigurationError(
            "anvil is not installed: it is not on the PATH.",
            next_step="Omit --node to use the chain in this process.",
        )
    port = _free_port(host, port)
    options = ["--host", host, "--port", str(port), "--chain-id", str(LOCAL.chain_id), "--hardfork", "cancun"]
    options += ["--mnemonic", MNEMONIC, "--balance", str(COINS), "--silent"]
    if block_time is not None:
        options += ["--block-time", str(block_time)]
    if state is not None:
        state.mkdir(parents=True, exist_ok=True)
        options += ["--state", str(state / ANVIL_STATE_NAME), "--state-interval", "1"]
    # In its own session, so that Ctrl-C reaches this program only, which then stops anvil.
    process = await asyncio.create_subprocess_exec(program, *options, start_new_session=True)
    url = f"http://{host}:{port}"
    gone = asyncio.create_task(_stop_when_gone(process, stop))
    try:
        await _wait_for(url, process)
        async with await AsyncConnection.open(url, LOCAL.chain_id) as connection:
            contracts = await _unless_stopped(_contracts_on(connection, state, empty), stop)
        yield url, contracts
    finally:
        gone.cancel()
        await _end(process)


async def _contracts_on(connection: AsyncConnection, state: Path | None, empty: bool) -> Contracts:
    """Deploy and register what is missing; with a state directory, according to its record.

    Raises what `deploy_local_network` raises.
    """
    if empty:
        return {}
    deployer = LocalSigner(development_keys()[0].to_bytes())
    record = await deploy_local_network(connection, deployer, path=None if state is None else state / RECORD_NAME)
    return {name: contract.front.address for name, contract in record.contracts.items()}


async def _unless_stopped(work: Any, stop: asyncio.Event) -> Contracts | None:
    """The result of `work`, or None if it was stopped first."""
    task = asyncio.ensure_future(work)
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({task, stopping}, return_when=asyncio.FIRST_COMPLETED)
        return task.result() if task.done() else None
    finally:
        for one in (task, stopping):
            one.cancel()
        await asyncio.gather(task, stopping, return_exceptions=True)


def _free_port(host: str, port: int, other: str | None = None) -> int:
    """The port, or a free one for 0. Raises PortUnavailable if another process has it."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise PortUnavailable(host, port, error, other) from error
        return int(probe.getsockname()[1])


async def _wait_for(url: str, process: asyncio.subprocess.Process) -> None:
    """Return when the node answers. Raises NodeFailure if it exits, or does not answer in time."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(ANVIL_START_SECONDS):
            while process.returncode is None:
                with contextlib.suppress(NodeUnreachable):
                    await (await AsyncConnection.open(url, attempts=1)).close()
                    return
                await asyncio.sleep(0.05)
    raise NodeFailure(
        "anvil did not start." if process.returncode is None else f"anvil exited with status {process.returncode}.",
        next_step="Omit --node to use the chain in this process.",
    )


async def _stop_when_gone(process: asyncio.subprocess.Process, stop: asyncio.Event) -> None:
    await process.wait()
    stop.set()


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    process.terminate()
    try:
        await asyncio.wait_for(process.wait(), ANVIL_STOP_SECONDS)
    except TimeoutError:
        process.kill()
        await process.wait()


def _accounts() -> list[dict[str, str]]:
    return [
        {"address": key.public_key.to_checksum_address(), "private_key": key.to_hex()} for key in development_keys()
    ]


def _as_json(
    url: str, contracts: Contracts, node: Node, state: Path | None, gateway: LocalGateway | None, explorer: str | None
) -> str:
    added: dict[str, Any] = {} if gateway is None else {"gateway": asdict(gateway) | {"store": str(gateway.store)}}
    added |= {} if explorer is None else {"explorer": explorer}
    return json.dumps(
        {
            "url": url,
            "ws_url": _ws(url),
            "chain_id": LOCAL.chain_id,
            "node": node.value,
            "state": None if state is None else str(state),
            "contracts": contracts,
            "mnemonic": MNEMONIC,
            "derivation_path": DERIVATION_PATH,
            "accounts": _accounts(),
        }
        | added
    )


def _as_text(
    url: str, contracts: Contracts, node: Node, state: Path | None, gateway: LocalGateway | None, explorer: str | None
) -> str:
    lines = [
        f"{'A local network' if contracts else 'An empty chain'} is running, on the {node.value} chain.",
        "",
        f"  JSON-RPC    {url}",
        f"  WebSocket   {_ws(url)}",
        *([] if explorer is None else [f"  Explorer    {explorer}"]),
        f"  Chain id    {LOCAL.chain_id}",
        f"  Saved in    {'memory only; pass --state DIR to keep it' if state is None else state}",
        "",
        *(how_to_use(url) if contracts else []),
        *(["Contracts", *(f"  {address}  {name}" for name, address in contracts.items()), ""] if contracts else []),
        f"Accounts, each with {COINS:,} coins at first{'; the first one owns the contracts' if contracts else ''}",
        *(f"  {number}  {account['address']}" for number, account in enumerate(_accounts())),
        "",
        "Private keys",
        *(f"  {number}  {account['private_key']}" for number, account in enumerate(_accounts())),
        "",
        "These keys are public. They are derived from the phrase",
        f"  {MNEMONIC}",
        "Never send anything of value to them on another network.",
        "",
        *(NEXT if contracts else how_to_deploy(url)),
        "",
        *([] if gateway is None else _gateway_lines(gateway)),
        "Press Ctrl-C to stop the network.",
    ]
    return "\n".join(lines)


def _gateway_lines(gateway: LocalGateway) -> list[str]:
    answers = "answered by a stand-in, not by a model" if gateway.stands_in else "answered by your model server"
    return [
        f"Account {PROVIDER} sells {gateway.model} at {gateway.url}/v1,",
        f"{answers}. Account {USER} has funds there:",
        "",
        "from openai import OpenAI",
        "",
        f'client = OpenAI(base_url="{gateway.url}/v1", api_key="{gateway.api_key}")',
        f'question = {{"model": "{gateway.model}", "messages": [{{"role": "user", "content": "Hi"}}]}}',
        "for chunk in client.chat.completions.create(**question, stream=True):",
        '    print(chunk.choices[0].delta.content or "", end="")',
        "",
        "To be paid for the answers, in another terminal:",
        "",
        f"SERVING_PRIVATE_KEY={_accounts()[PROVIDER]['private_key']} \\",
        f"SERVING_TEE_KEY={_accounts()[TEE]['private_key']} \\",
        f"serving settle --journal {gateway.store}",
        "",
        "To verify the bill as the user:",
        "",
        f"export SERVING_PRIVATE_KEY={_accounts()[USER]['private_key']}",
        f"serving bill fetch {gateway.provider}",
        f"serving bill verify {gateway.provider}",
        "",
    ]


def how_to_use(url: str) -> list[str]:
    """How the other commands find this node, unless they do so by default."""
    if url in BUILT_IN["local"].urls:
        return []
    return ["To use it with the other commands", f"  serving network add local --url {url}", ""]


def how_to_deploy(url: str) -> list[str]:
    """How an empty chain gets its own network."""
    return [
        "Next, in another terminal",
        f"  serving network add mine --url {url} --chain-id {LOCAL.chain_id}",
        "  serving network use mine",
        "  serving key import deployer      imports one of the keys above",
        "  mkdir -p networks && serving deploy plan --example > networks/mine.toml",
        "  serving deploy plan --key deployer",
    ]


def _ws(url: str) -> str:
    return "ws" + url.removeprefix("http")
