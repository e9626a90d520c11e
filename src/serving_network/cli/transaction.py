# SPDX-License-Identifier: Apache-2.0
"""`serving transaction`: what became of a transaction."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any

import typer

from serving_network.cli.console.command import reads
from serving_network.cli.console.output import money
from serving_network.cli.console.session import Session
from serving_network.cli.console.values import call_lines, plain, values_as_json, values_as_text
from serving_network.errors import InvalidInput, TransactionFailure
from serving_network.money import rounded

if TYPE_CHECKING:
    from collections.abc import Sequence

    from serving_network.chain.contract import Contract
    from serving_network.chain.receipts import Receipt

HASH = re.compile("0x[0-9a-fA-F]{64}")

app = typer.Typer(help="Look up transactions.")


@app.command()
@reads
async def show(
    session: Session, transaction: Annotated[str, typer.Argument(metavar="HASH", help="The transaction's hash.")]
) -> None:
    """Show whether a transaction was mined, its call, its events and its cost.

    For a failed transaction, the command prints the reason and exits with the code of its error.

    Example: serving transaction show 0x5c50...
    """
    if not HASH.fullmatch(transaction):
        raise InvalidInput(
            f"{transaction!r} is not the hash of a transaction.", next_step="Write 0x and 64 hexadecimal digits."
        )
    network = await session.reader()
    found = await network.chain.transaction(transaction)
    if found is None:
        raise TransactionFailure(
            f"The node does not know the transaction {transaction}.",
            transaction=transaction,
            cause="It was not sent, the node has dropped it, or it is on another network.",
            next_step="serving network show",
        )
    contracts = [network.ledger_contract, *(one.contract for one in await network.services())]
    call = _call(contracts, found)
    receipt = await network.chain.receipt(transaction)
    result: dict[str, Any] = {
        "transaction": transaction,
        "from": found["from"],
        "to": found.get("to"),
        "value": money(int(found["value"], 16)),
        "nonce": int(found["nonce"], 16),
        "call": call and call | {"arguments": plain(call["arguments"])},
        "state": "waiting" if receipt is None else "done" if receipt.succeeded else "failed",
    }
    events: list[dict[str, Any]] = []
    if receipt is not None:
        result |= {"block": receipt.block_number, "gas_used": receipt.gas_used, "gas_cost": money(receipt.cost)}
        events = _events(contracts, receipt)
        result["events"] = [one | {"arguments": values_as_json(one["arguments"])} for one in events]
    session.out.result(result)
    _print(session, result, call, receipt, events)
    if receipt is not None and not receipt.succeeded:
        await (await session.chain()).wait(transaction)


def _call(contracts: list[Contract], found: dict[str, Any]) -> dict[str, Any] | None:
    from serving_network.chain.node import from_hex

    for contract in contracts:
        if contract.address.lower() == str(found.get("to")).lower():
            decoded = contract.interface.decode_call(from_hex(found["input"]))
            if decoded is not None:
                return {"contract": contract.name, "function": decoded.name, "arguments": decoded.args}
    return None


def _events(contracts: list[Contract], receipt: Receipt) -> list[dict[str, Any]]:
    by_address = {contract.address.lower(): contract for contract in contracts}
    found = []
    for entry in receipt.logs:
        contract = by_address.get(str(entry["address"]).lower())
        event = contract.interface.decode_log(entry) if contract else None
        if contract is not None and event is not None:
            found.append({"contract": contract.name, "event": event.name, "arguments": event.args})
    return found


def _print(
    session: Session,
    result: dict[str, Any],
    call: dict[str, Any] | None,
    receipt: Receipt | None,
    events: Sequence[dict[str, Any]],
) -> None:
    out = session.out
    facts = {
        "transaction": result["transaction"],
        "state": result["state"],
        "from": session.name(result["from"]),
        "to": str(result["to"]),
        "value": rounded(int(result["value"]["wei"])),
        "call": f"{call['contract']}.{call['function']}" if call else "not to this network",
    }
    if receipt is not None:
        facts["block"] = str(receipt.block_number)
        facts["gas"] = f"{receipt.gas_used}, cost {rounded(receipt.cost, at_most=True)}"
    out.facts(facts)
    for line in call_lines(call["arguments"]) if call else ():
        out.line(line)
    for event in events:
        values = values_as_text(session.configuration.name_of, event["arguments"])
        out.line(f"event  {event['contract']}.{event['event']}  {values}")
