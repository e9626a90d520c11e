# SPDX-License-Identifier: Apache-2.0
"""One transaction of a command: shown, confirmed, sent, waited for, and reported with its cost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from serving_network.cli.console.output import money
from serving_network.cli.console.prompts import ask_to_go_on
from serving_network.cli.console.values import call_lines, plain
from serving_network.money import rounded

if TYPE_CHECKING:
    from serving_network.chain.contract import Call
    from serving_network.chain.fees import Fees
    from serving_network.chain.receipts import Receipt
    from serving_network.cli.console.options import Sending
    from serving_network.cli.console.output import Output
    from serving_network.clients.actor import AsyncActor
    from serving_network.signing import Signer

IRREGULAR = {"leaves": "left", "makes": "made", "sets": "set", "transfers": "transferred"}


class Sends(Protocol):
    """A session that sends: how, where it prints, the transaction that is pending, and those that are done."""

    sending: Sending
    out: Output
    sent: str | None
    done: list[dict[str, Any]]

    def signer(self) -> Signer:
        """The unlocked key."""


async def submit(session: Sends, actor: AsyncActor, fees: Fees | None, call: Call) -> Receipt:
    """Show the call, ask, send it and wait for it. With --dry-run, show it only."""
    chain = actor.chain
    gas = await chain.estimate_gas(actor.address, call.to, call.data, call.value)
    fees = fees or await chain.suggested_fees()
    most = gas * fees.max_fee_per_gas
    entry = {
        "contract": call.contract,
        "to": call.to,
        "function": call.function,
        "arguments": {name: plain(value) for name, value in call.arguments.items()},
        "value": money(call.value),
        "effect": call.effect,
        "gas": gas,
        "highest_gas_cost": money(most),
    }
    if session.sending.dry_run:
        session.done.append(entry)
        _show(session.out, call, gas, most)
        return _nothing_sent()
    if not session.sending.yes:
        session.out.note(f"This {call.effect}.")
        session.out.note(f"Gas limit {gas}, at most {rounded(most, at_most=True)}.")
        ask_to_go_on()
    session.signer()  # asks for the password here, in the main thread, where Ctrl-C ends a prompt
    signed = await chain.prepare(actor.signer, call.to, call.data, value=call.value, gas=gas, fees=fees)
    session.sent = signed.hash
    await chain.broadcast(signed)
    receipt = await chain.wait(signed)
    session.sent = None
    session.done.append(
        entry
        | {
            "transaction": receipt.transaction_hash,
            "block": receipt.block_number,
            "gas_used": receipt.gas_used,
            "gas_cost": money(receipt.cost),
        }
    )
    session.out.line(f"{past(call.effect)}.")
    session.out.line(f"Transaction {receipt.transaction_hash} in block {receipt.block_number}.")
    session.out.line(f"Gas used {receipt.gas_used}, cost {rounded(receipt.cost, at_most=True)}.")
    return receipt


def past(effect: str) -> str:
    """What was done: "opens a ledger" becomes "Opened a ledger"."""
    verb, _, rest = effect.partition(" ")
    base = verb.removesuffix("s")
    done = IRREGULAR.get(verb) or base + ("d" if base.endswith("e") else "ed")
    return f"{done.capitalize()} {rest}"


def _show(out: Output, call: Call, gas: int, most: int) -> None:
    out.line(f"{call.contract}.{call.function} at {call.to}", "bold")
    for line in call_lines(call.arguments):
        out.line(line)
    out.line(f"  value = {rounded(call.value)}")
    out.line(f"This {call.effect}.")
    out.line(f"It would succeed now. Gas limit {gas}, at most {rounded(most, at_most=True)}. Nothing was sent.")


def _nothing_sent() -> Receipt:
    from serving_network.chain.receipts import Receipt

    return Receipt(
        "", succeeded=True, block_number=0, block_hash="", gas_used=0, gas_price=0, contract_address=None, logs=[]
    )
