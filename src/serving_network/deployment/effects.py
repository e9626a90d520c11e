# SPDX-License-Identifier: Apache-2.0
"""Whether a call has had its effect on the chain: a step of a plan, or an instruction for another owner."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from serving_network.chain.connection import AsyncConnection
from serving_network.chain.contract import Contract
from serving_network.contracts import load
from serving_network.contracts.models import ZERO_ADDRESS
from serving_network.deployment.calls import function_inputs, typed
from serving_network.errors import ContractError


async def has_happened(
    chain: AsyncConnection, contract: str, address: str, function: str, arguments: Sequence[str], sender: str
) -> bool:
    """Whether the state is that after `function(*arguments)` sent by `sender`.

    Raises KeyError for a function that no plan contains.
    """
    values = typed(function_inputs(load(contract), function, len(arguments)), arguments)
    return await _CHECKS[function](Contract(chain, contract, address), values, sender)


async def _upgraded(contract: Contract, values: list[Any], _: str) -> bool:
    return bool(await contract.read("implementation") == values[0])


async def _attached(contract: Contract, values: list[Any], _: str) -> bool:
    return bool(await contract.read("front") == values[0])


async def _owned(contract: Contract, values: list[Any], _: str) -> bool:
    return bool(await contract.read("owner") == values[0])


async def _offered(contract: Contract, values: list[Any], _: str) -> bool:
    return values[0] in (await contract.read("pendingOwner"), await contract.read("owner"))


async def _accepted(contract: Contract, _: list[Any], sender: str) -> bool:
    return bool(await contract.read("owner") == sender)


async def _renounced(contract: Contract, _: list[Any], __: str) -> bool:
    return bool(await contract.read("owner") == ZERO_ADDRESS)


async def _registered(contract: Contract, values: list[Any], _: str) -> bool:
    info = await contract.read("getServiceInfo", values[2])
    return bool(info["serviceAddress"] == values[2] and info["fullName"] == f"{values[0]}-{values[1]}")


async def _recommended(contract: Contract, values: list[Any], _: str) -> bool:
    try:
        version, _address = await contract.read("getRecommendedService", values[0])
    except ContractError:
        return False
    return bool(version == values[1])


_Check = Callable[[Contract, list[Any], str], Awaitable[bool]]
_CHECKS: dict[str, _Check] = {
    "upgradeTo": _upgraded,
    "attach": _attached,
    "transferOwnership": _owned,
    "offerOwnership": _offered,
    "acceptOwnership": _accepted,
    "renounceOwnership": _renounced,
    "registerService": _registered,
    "setRecommendedService": _recommended,
}
CHECKED_FUNCTIONS = frozenset(_CHECKS)
