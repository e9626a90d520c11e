"""`serving transaction show`"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from serving_network.chain.node import from_hex
from serving_network.cli.context import Session, plain, reads
from serving_network.cli.output import money
from serving_network.errors import TransactionFailure
from serving_network.money import describe

if TYPE_CHECKING:
    from serving_network.chain.contract import Contract
    from serving_network.chain.receipts import Receipt


@reads
async def show(session: Session, transaction: Annotated[str, typer.Argument(help="Its hash.")]) -> None:
    """Show what became of a transaction, the call that it made and the events that it left.

    A failed one says why, and ends with the exit code of its error.

    Example: serving transaction show 0x5c50...
    """
    network = await session.reader()
    mined = await network.chain.transaction(transaction)
    if mined is None:
        raise TransactionFailure(
            "The node does not know this transaction.",
            transaction=transaction,
            cause="It was not sent, or the node forgot it, or it is on another network.",
            next_step="serving network show",
        )
    contracts = [network.ledger_contract, *(one.contract for one in await network.services())]
    call = _call(contracts, mined)
    receipt = await network.chain.receipt(transaction)
    told: dict[str, Any] = {
        "transaction": transaction,
        "from": mined["from"],
        "to": mined.get("to"),
        "value": money(int(mined["value"], 16)),
        "nonce": int(mined["nonce"], 16),
        "call": call,
        "state": "waiting" if receipt is None else "done" if receipt.succeeded else "failed",
    }
    if receipt is not None:
        told |= {"block": receipt.block_number, "gas_used": receipt.gas_used, "gas_cost": money(receipt.cost)}
        told["events"] = _events(contracts, receipt)
    session.out.result(told)
    _print(session, told, receipt)
    if receipt is not None and not receipt.succeeded:
        await (await session.chain()).wait(transaction)


def _call(contracts: list[Contract], mined: dict[str, Any]) -> dict[str, Any] | None:
    for contract in contracts:
        if contract.address.lower() == str(mined.get("to")).lower():
            decoded = contract.interface.decode_call(from_hex(mined["input"]))
            if decoded is not None:
                return {"contract": contract.name, "function": decoded.name, "arguments": plain(decoded.args)}
    return None


def _events(contracts: list[Contract], receipt: Receipt) -> list[dict[str, Any]]:
    by_address = {contract.address.lower(): contract for contract in contracts}
    found = []
    for entry in receipt.logs:
        contract = by_address.get(str(entry["address"]).lower())
        event = contract.interface.decode_log(entry) if contract else None
        if contract is not None and event is not None:
            found.append({"contract": contract.name, "event": event.name, "arguments": plain(event.args)})
    return found


def _print(session: Session, told: dict[str, Any], receipt: Receipt | None) -> None:
    out = session.out
    call = told["call"]
    facts = {
        "transaction": told["transaction"],
        "state": told["state"],
        "from": session.name(told["from"]),
        "to": str(told["to"]),
        "value": describe(int(told["value"]["wei"])),
        "call": f"{call['contract']}.{call['function']} {call['arguments']}" if call else "none of this network's",
    }
    if receipt is not None:
        facts["block"] = str(receipt.block_number)
        facts["gas"] = f"{receipt.gas_used}, {describe(receipt.cost)}"
    out.facts(facts)
    for event in told.get("events", ()):
        out.line(f"event  {event['contract']}.{event['event']} {event['arguments']}")
