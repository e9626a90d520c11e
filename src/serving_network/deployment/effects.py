# SPDX-License-Identifier: Apache-2.0
"""Whether a call has had its effect, asked of the chain.

The same question serves three times: after a step of ours, to find out whether another owner has followed an
instruction, and before sending what may already have been done.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from serving_network.chain.connection import AsyncConnection
from serving_network.contracts import load
from serving_network.deployment.calls import function_inputs, typed
from serving_network.errors import ContractError

ZERO = "0x" + "0" * 40


async def read(
    chain: AsyncConnection, contract: str, address: str, getter: str, *arguments: Any, block: int | str = "latest"
) -> Any:
    """What a getter of a contract answers, decoded. Raises the ContractError that it answers with."""
    interface = load(contract).interface
    return interface.decode_result(getter, await chain.call(address, interface.encode(getter, *arguments), block=block))


async def has_happened(
    chain: AsyncConnection, contract: str, address: str, function: str, arguments: Sequence[str], sender: str
) -> bool:
    """Whether the state is what `function(*arguments)` sent by `sender` leaves behind.

    Raises KeyError for a function that no plan contains.
    """
    values = typed(function_inputs(load(contract), function, len(arguments)), arguments)
    return await _CHECKS[function](chain, contract, address, values, sender)


async def _upgraded(chain: AsyncConnection, contract: str, address: str, values: list[Any], _: str) -> bool:
    return bool(await read(chain, contract, address, "implementation") == values[0])


async def _attached(chain: AsyncConnection, contract: str, address: str, values: list[Any], _: str) -> bool:
    return bool(await read(chain, contract, address, "front") == values[0])


async def _owned(chain: AsyncConnection, contract: str, address: str, values: list[Any], _: str) -> bool:
    return bool(await read(chain, contract, address, "owner") == values[0])


async def _offered(chain: AsyncConnection, contract: str, address: str, values: list[Any], _: str) -> bool:
    holders = (await read(chain, contract, address, "pendingOwner"), await read(chain, contract, address, "owner"))
    return values[0] in holders


async def _accepted(chain: AsyncConnection, contract: str, address: str, _: list[Any], sender: str) -> bool:
    return bool(await read(chain, contract, address, "owner") == sender)


async def _registered(chain: AsyncConnection, contract: str, address: str, values: list[Any], _: str) -> bool:
    info = await read(chain, contract, address, "getServiceInfo", values[2])
    return bool(info["serviceAddress"] == values[2] and info["fullName"] == f"{values[0]}-{values[1]}")


async def _recommended(chain: AsyncConnection, contract: str, address: str, values: list[Any], _: str) -> bool:
    try:
        version, _address = await read(chain, contract, address, "getRecommendedService", values[0])
    except ContractError:
        return False
    return bool(version == values[1])


_Check = Callable[[AsyncConnection, str, str, list[Any], str], Awaitable[bool]]
_CHECKS: dict[str, _Check] = {
    "upgradeTo": _upgraded,
    "attach": _attached,
    "transferOwnership": _owned,
    "offerOwnership": _offered,
    "acceptOwnership": _accepted,
    "registerService": _registered,
    "setRecommendedService": _recommended,
}
CHECKED_FUNCTIONS = frozenset(_CHECKS)
