# SPDX-License-Identifier: Apache-2.0
"""A copy of a chain's state in this process, for rehearsals.

State is read from the node when it is needed, as of one block, and cached. Changes stay in the copy.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from serving_network.addresses import to_checksum_address
from serving_network.chain.connection import AsyncConnection
from serving_network.chain.node import from_hex, from_quantity, from_word
from serving_network.chain.receipts import Receipt
from serving_network.hashing import keccak
from serving_network.localchain import EmbeddedChain
from serving_network.localchain.world import EMPTY_CODE_HASH, AccountState, Slot

Result = TypeVar("Result")
Ask = Callable[[str, list[Any]], Any]

PLENTY = 10**24


class NodeState:
    """The state of another chain at one block, for the embedded chain. `ask` asks the node and waits."""

    def __init__(self, ask: Ask, block: int) -> None:
        self._ask = ask
        self._block = hex(block)
        self._accounts: dict[bytes, AccountState] = {}
        self._slots: dict[Slot, int] = {}
        self._codes: dict[bytes, bytes] = {EMPTY_CODE_HASH: b""}

    def account(self, address: bytes) -> AccountState:
        if address not in self._accounts:
            asked = [to_checksum_address(address), self._block]
            code = from_hex(self._ask("eth_getCode", asked))
            self._codes[keccak(code)] = code
            self._accounts[address] = AccountState(
                nonce=from_quantity(self._ask("eth_getTransactionCount", asked)),
                balance=from_quantity(self._ask("eth_getBalance", asked)),
                code_hash=keccak(code),
            )
        return self._accounts[address]

    def slot(self, key: Slot) -> int:
        if key not in self._slots:
            address, slot = key
            asked = [to_checksum_address(address), "0x" + slot.to_bytes(32).hex(), self._block]
            self._slots[key] = from_word(self._ask("eth_getStorageAt", asked))
        return self._slots[key]

    def code(self, code_hash: bytes) -> bytes:
        return self._codes[code_hash]


async def on_a_copy(chain: AsyncConnection, block: int, work: Callable[[AsyncConnection], Awaitable[Result]]) -> Result:
    """Run `work` on a copy of the chain's state after `block`, and return its result.

    The copy runs in a thread with an event loop of its own, because the EVM cannot await answers of this loop.
    """
    here = asyncio.get_running_loop()
    header = await chain.block(block)

    def ask(method: str, params: list[Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(chain.rpc(method, params), here).result()

    async def work_there() -> Result:
        copy = EmbeddedChain(
            chain_id=chain.chain_id, origin=NodeState(ask, block), genesis_time=from_quantity(header["timestamp"])
        )
        async with await AsyncConnection.open(copy) as connection:
            return await work(connection)

    return await asyncio.to_thread(lambda: asyncio.run(work_there()))


async def send_as(copy: AsyncConnection, sender: str, to: str | None, data: bytes, *, value: int = 0) -> Receipt:
    """Send a transaction on a copy as any account, without a key; `value` is in wei. Raises its ContractError."""
    await copy.rpc("anvil_impersonateAccount", [sender])
    await copy.rpc("anvil_setBalance", [sender, hex(PLENTY)])
    fields = {"from": sender, "data": "0x" + data.hex(), "value": hex(value)} | ({} if to is None else {"to": to})
    return await copy.wait(str(await copy.rpc("eth_sendTransaction", [fields])))
