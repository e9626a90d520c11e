# SPDX-License-Identifier: Apache-2.0
"""Compare a network's record with its chain, item by item."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

from serving_network.chain.connection import AsyncConnection
from serving_network.chain.contract import Contract
from serving_network.chain.node import from_hex
from serving_network.contracts import load
from serving_network.contracts.models import ZERO_ADDRESS
from serving_network.deployment.bytecode import code_hash, front_code
from serving_network.deployment.calls import constructor_inputs, typed
from serving_network.deployment.genesis import check_chain
from serving_network.deployment.record import Code, Record, RecordedContract
from serving_network.errors import ContractError
from serving_network.localchain import EmbeddedChain

BEACON = "UpgradeableBeacon"
LEDGER = "LedgerManager"


@dataclass(frozen=True)
class Finding:
    """One item of the record; `difference` is None if the chain agrees."""

    item: str
    difference: str | None


async def check_record(chain: AsyncConnection, record: Record, *, deep: bool = True) -> list[Finding]:
    """Every item of the record, with its difference from the chain.

    With `deep`, implementations of this package's build are created again on an empty chain, and their code is compared
    with its immutable values, byte for byte. Raises WrongChain, and PlanRefused for another chain with the same id.
    """
    await check_chain(chain, record)
    findings: list[Finding] = []
    for name, contract in record.contracts.items():
        findings += [one async for one in _contract(chain, record, name, contract)]
        if deep:
            findings.append(await _rebuilt(chain, name, contract))
    findings += [one async for one in _registry(chain, record)]
    return findings


async def _contract(
    chain: AsyncConnection, record: Record, name: str, contract: RecordedContract
) -> AsyncIterator[Finding]:
    for part, code in (
        ("front", contract.front),
        ("beacon", contract.beacon),
        ("implementation", contract.implementation),
    ):
        yield await _code(chain, f"{name} {part}", code)
        yield await _mined(chain, f"{name} {part} transaction", code)
    expected = code_hash(front_code(contract.beacon.address))
    yield _same(f"{name} front uses its beacon", expected, contract.front.code_hash)
    yield await _asked(
        chain,
        f"{name} runs the implementation",
        BEACON,
        contract.beacon.address,
        "implementation",
        contract.implementation.address,
    )
    yield await _asked(
        chain, f"{name} front is attached", BEACON, contract.beacon.address, "front", contract.front.address
    )
    kind, front = contract.implementation.contract, contract.front.address
    yield await _asked(chain, f"{name} owner", kind, front, "owner", contract.owner)
    yield await _asked(chain, f"{name} upgrade owner", BEACON, contract.beacon.address, "owner", contract.upgrade_owner)
    yield await _asked(chain, f"{name} is initialised", kind, front, "initialized", expected=True)
    yield await _asked(
        chain, f"{name} implementation is locked", kind, contract.implementation.address, "initialized", expected=False
    )
    if name != "ledger":
        yield await _asked(chain, f"{name} ledger", kind, front, "ledgerAddress", record.ledger.front.address)
    for former in contract.former:
        yield await _code(chain, f"{name} former implementation {former.address}", former)


async def _registry(chain: AsyncConnection, record: Record) -> AsyncIterator[Finding]:
    for name, service in record.services.items():
        registration = service.registration
        if registration is None or not registration.registered:
            continue
        ledger = record.ledger.front.address
        yield await _asked(
            chain, f"{name} is registered", LEDGER, ledger, "getServiceAddressByName", service.front.address, name
        )
        yield await _asked(
            chain,
            f"{name} recommended",
            LEDGER,
            ledger,
            "isRecommendedVersion",
            registration.recommended,
            registration.type,
            registration.version,
        )


async def _code(chain: AsyncConnection, item: str, code: Code) -> Finding:
    found = await chain.code(code.address)
    if not found:
        return Finding(item, f"there is no code at {code.address}")
    return _same(item, code.code_hash, code_hash(found))


async def _mined(chain: AsyncConnection, item: str, code: Code) -> Finding:
    receipt = await chain.receipt(code.mined.transaction)
    if receipt is None:
        return Finding(item, f"the chain does not know {code.mined.transaction}")
    return _same(item, f"block {code.mined.block}", f"block {receipt.block_number}")


async def _asked(
    chain: AsyncConnection, item: str, contract: str, address: str, getter: str, expected: str | bool, *arguments: str
) -> Finding:
    try:
        return _same(item, expected, await Contract(chain, contract, address).read(getter, *arguments))
    except ContractError as error:
        return Finding(item, f"the contract does not answer: {error}")


def _same(item: str, recorded: object, found: object) -> Finding:
    if recorded == found:
        return Finding(item, None)
    return Finding(item, f"recorded {recorded}, found {'nobody' if found == ZERO_ADDRESS else found}")


async def _rebuilt(chain: AsyncConnection, name: str, contract: RecordedContract) -> Finding:
    """Create the implementation again on an empty chain, by the same sender with the same nonce, and compare code and
    immutable values byte for byte. For another build than this package's there is nothing to compare with; use
    `serving verify local` of that release."""
    implementation = contract.implementation
    item = f"{name} implementation matches its source and arguments"
    artifact = load(implementation.contract)
    if code_hash(artifact.bytecode) != implementation.artifact_hash:
        return Finding(item, None)
    data = artifact.creation_code(*typed(constructor_inputs(artifact), list(implementation.arguments.values())))
    empty = EmbeddedChain(chain_id=chain.chain_id)
    empty.request("anvil_setNonce", [implementation.mined.sender, hex(implementation.mined.nonce)])
    code = empty.request("eth_call", [{"from": implementation.mined.sender, "data": "0x" + data.hex()}, "latest"])
    return _same(item, code_hash(from_hex(code)), code_hash(await chain.code(implementation.address)))
