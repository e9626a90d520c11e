# SPDX-License-Identifier: Apache-2.0
"""`serving local`: coins and time on a local network, where both can be had by asking."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from serving_network.chains import LOCAL_CHAIN
from serving_network.cli.console.arguments import AMOUNT_HELP
from serving_network.cli.console.command import reads
from serving_network.cli.console.complete import complete_key
from serving_network.cli.console.output import money
from serving_network.cli.console.session import Session
from serving_network.cli.console.times import local_time, moment, parse_span
from serving_network.counting import span
from serving_network.errors import InvalidInput, NodeFailure, RpcError
from serving_network.money import parse_wei, rounded

if TYPE_CHECKING:
    from serving_network.chain.connection import AsyncConnection

app = typer.Typer(help="Get coins and move time on a local network.")

LONGEST_TRAVEL = 10 * 365 * 86400


@app.command()
@reads
async def fund(
    session: Session,
    whom: Annotated[
        str, typer.Argument(metavar="KEY", help="A key, a name or an address.", autocompletion=complete_key)
    ],
    amount: Annotated[int, typer.Argument(parser=parse_wei, metavar="AMOUNT", help=AMOUNT_HELP)] = "100",  # type: ignore[assignment]  # read by the parser, as if it were typed
) -> None:
    """Give a wallet on the local network coins, out of nothing.

    Example: serving local fund main 500
    """
    address = session.address(whom)
    chain = await _local_chain(session)
    before = await chain.balance(address)
    await _ask(chain, "hardhat_setBalance", address, hex(before + amount))
    session.out.result({"address": address, "added": money(amount), "balance": money(before + amount)})
    session.out.line(f"{session.name(address)} has {rounded(before + amount)}: {rounded(amount)} more than before.")


@app.command()
@reads
async def travel(
    session: Session,
    how_far: Annotated[
        list[str], typer.Argument(metavar="TIME", help='How far: "1 day", "90 min", "26h", or seconds.')
    ],
) -> None:
    """Move the local network's time forward, for example past the lock time of refunds. It cannot move back.

    Example: serving local travel 1 day
    """
    seconds = parse_span(" ".join(how_far))
    if seconds > LONGEST_TRAVEL:
        raise InvalidInput(f"{span(seconds)} is too far.", next_step="Travel at most 10 years at once.")
    chain = await _local_chain(session)
    await _ask(chain, "evm_increaseTime", hex(seconds))
    await _ask(chain, "evm_mine")
    now = await chain.timestamp()
    session.out.result({"seconds": seconds, "time": moment(now)})
    session.out.line(f"Moved {span(seconds)} forward. On the chain it is {local_time(now)}.")


async def _local_chain(session: Session) -> AsyncConnection:
    if session.network.chain_id != LOCAL_CHAIN:
        raise InvalidInput(
            f"The network {session.network.name!r} is not a local one: its chain id is {session.network.chain_id}.",
            next_step="Start one with serving up, then add --network local.",
        )
    return await session.chain()


async def _ask(chain: AsyncConnection, method: str, *params: str) -> None:
    """Call a method that only development nodes have. Raises NodeFailure if this node lacks it."""
    try:
        await chain.rpc(method, params)
    except RpcError as refusal:
        raise NodeFailure(
            f"The node does not support {method}.", cause=str(refusal), next_step="Use a network of serving up."
        ) from refusal
