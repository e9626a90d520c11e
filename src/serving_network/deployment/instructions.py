# SPDX-License-Identifier: Apache-2.0
"""Calls that other owners must make: written out for them, and checked until they have been made."""

import json
from collections.abc import Sequence
from pathlib import Path

from serving_network.chain.connection import AsyncConnection
from serving_network.chain.contract import Contract
from serving_network.contracts import load
from serving_network.deployment.bytecode import code_hash
from serving_network.deployment.calls import function_entry, named
from serving_network.deployment.deploy import recommend
from serving_network.deployment.effects import has_happened
from serving_network.deployment.genesis import check_chain
from serving_network.deployment.record import Instruction, Record
from serving_network.deployment.record_file import RecordFile
from serving_network.deployment.safe import SafeCall, batch
from serving_network.deployment.upgrade import take_over


def text(instruction: Instruction, record: Record) -> str:
    """The instruction as text: who sends what to whom, what it does, and how to check that it was done."""
    entry = function_entry(load(instruction.contract), instruction.function, len(instruction.arguments))
    signature = ", ".join(f"{one['type']} {one['name']}" for one in entry["inputs"])
    arguments = named(entry["inputs"], instruction.arguments)
    width = max((len(name) for name in arguments), default=0)
    lines = [
        f"{record.network} (chain {record.chain_id}): {instruction.says}",
        "",
        f"From      {instruction.sender}",
        f"To        {instruction.to}  ({_what(instruction, record)})",
        "Value     0",
        f"Call      {instruction.function}({signature})",
        *(f"            {name:<{width}} = {value}" for name, value in arguments.items()),
        f"Calldata  {instruction.data}",
        "",
        "Before signing, compare To with the network's record, and decode the calldata with a tool of your own.",
        "Afterwards, this command checks that it was done as written here:",
        f"serving upgrade status --network {record.network}",
    ]
    return "\n".join(lines) + "\n"


def write_files(instructions: Sequence[Instruction], record: Record, folder: Path, created_at_ms: int) -> list[Path]:
    """Write each instruction as text, and one Safe Transaction Builder file for each sender. Returns the files."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for one in instructions:
        path = folder / f"{one.id.replace('/', '-')}.txt"
        path.write_text(text(one, record), encoding="utf-8")
        written.append(path)
    for sender in dict.fromkeys(one.sender for one in instructions):
        mine = [one for one in instructions if one.sender == sender]
        content = batch(
            [_safe_call(one) for one in mine],
            chain_id=record.chain_id,
            safe=sender,
            name=f"{record.network}: {mine[0].says}",
            description="; ".join(one.says for one in mine),
            created_at_ms=created_at_ms,
        )
        path = folder / f"safe-{sender}.json"
        path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        written.append(path)
    return written


async def look_after(chain: AsyncConnection, file: RecordFile) -> list[tuple[Instruction, str]]:
    """Check which open instructions have been followed, and record those that have.

    Returns every open instruction with its state: "done", "not yet", or what happened instead.
    Raises WrongChain and PlanRefused for another chain than the record's.
    """
    with file.locked():
        record = file.record
        await check_chain(chain, record)
        seen = []
        for one in record.open_instructions:
            said = await _state(chain, record, one)
            if said == "done":
                one.done_in = await chain.block_number()
                _note(record, one)
            seen.append((one, said))
        file.save()
        return seen


async def _state(chain: AsyncConnection, record: Record, one: Instruction) -> str:
    if not await has_happened(chain, one.contract, one.to, one.function, one.arguments, one.sender):
        if one.function == "upgradeTo":
            running = await Contract(chain, one.contract, one.to).read("implementation")
            recorded = record.contract(one.subject).implementation.address
            if running != recorded:
                return f"another implementation runs: {running}"
        return "not yet"
    prepared = record.contract(one.subject).prepared
    if one.function == "upgradeTo" and prepared is not None:
        if prepared.address != one.arguments[0]:
            return f"done, but the record has prepared {prepared.address}"
        if code_hash(await chain.code(prepared.address)) != prepared.code_hash:
            return "done, but the implementation has other code than was deployed"
    return "done"


def _note(record: Record, one: Instruction) -> None:
    contract = record.contract(one.subject)
    arguments = [str(value) for value in one.arguments]
    match one.function:
        case "upgradeTo":
            take_over(contract)
        case "registerService" if (service := record.contract("-".join(arguments[:2]))).registration is not None:
            service.registration.registered = True
        case "setRecommendedService":
            recommend(record, *arguments)
        case "transferOwnership" if one.contract == "UpgradeableBeacon":
            contract.upgrade_owner = arguments[0]
        case "transferOwnership":
            contract.owner = arguments[0]
        case "acceptOwnership" if one.contract == "UpgradeableBeacon":
            contract.upgrade_owner = one.sender
        case "acceptOwnership":
            contract.owner = one.sender


def _what(instruction: Instruction, record: Record) -> str:
    contract = record.contract(instruction.subject)
    return f"beacon of {instruction.subject}" if instruction.to == contract.beacon.address else instruction.subject


def _safe_call(one: Instruction) -> SafeCall:
    entry = function_entry(load(one.contract), one.function, len(one.arguments))
    return SafeCall(to=one.to, method=entry, arguments=named_for_safe(entry["inputs"], one))


def named_for_safe(inputs: Sequence[dict[str, str]], one: Instruction) -> dict[str, str]:
    """Arguments by their exact ABI names, as the Transaction Builder expects them."""
    return {entry["name"]: str(value) for entry, value in zip(inputs, one.arguments, strict=True)}
