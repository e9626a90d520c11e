# SPDX-License-Identifier: Apache-2.0
"""The books of a recorded network, with its stakes read from storage.

Stakes have no getter: they are read from the words in which the recorded storage layout keeps them, which also works on
a node that does not keep old events, and on a copy of a chain.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from serving_network.addresses import to_canonical_address
from serving_network.chain.contract import Contract
from serving_network.chain.node import block_parameter, from_word
from serving_network.clients.read.books import Books, read_books
from serving_network.deployment.layout import Layout
from serving_network.errors import RpcError
from serving_network.hashing import keccak

if TYPE_CHECKING:
    from collections.abc import Mapping

    from serving_network.chain.reading import AsyncReader
    from serving_network.deployment.record import Record, RecordedContract

PROVIDER_WORDS = "services._words"


def front_of(chain: AsyncReader, recorded: RecordedContract) -> Contract:
    """A recorded contract, to be called."""
    return Contract(chain, recorded.implementation.contract, recorded.front.address)


async def recorded_books(
    chain: AsyncReader,
    record: Record,
    block: int | None = None,
    layouts: Mapping[str, Mapping[str, Any]] | None = None,
) -> Books:
    """The books of all recorded contracts at `block`, by default the newest.

    `layouts` has the storage layout of a contract whose code has just been replaced, by name; otherwise the record's is
    used. Raises KeyError when a layout has no such words.
    """
    known = {name: one.implementation.storage_layout for name, one in record.services.items()} | dict(layouts or {})

    async def stakes(chain: AsyncReader, name: str, contract: Contract, providers: tuple[str, ...], block: int) -> int:
        return sum(await _stakes(chain, contract.address, providers, block, Layout.from_artifact(known[name])))

    services = {name: front_of(chain, one) for name, one in record.services.items()}
    return await read_books(chain, front_of(chain, record.ledger), services, block=block, stakes=stakes)


async def _stakes(
    chain: AsyncReader, address: str, providers: tuple[str, ...], block: int, layout: Layout
) -> list[int]:
    slot = next((one.slot for one in layout.variables if one.name == PROVIDER_WORDS), None)
    if slot is None:
        raise KeyError(f"the layout has no {PROVIDER_WORDS}")
    questions: list[tuple[str, list[Any]]] = [
        ("eth_getStorageAt", [address, mapping_slot(slot, provider), block_parameter(block)]) for provider in providers
    ]
    answers = await chain.batch(questions)
    for answer in answers:
        if isinstance(answer, RpcError):
            raise answer
    return [_bits(layout, PROVIDER_WORDS, "stake", from_word(answer)) for answer in answers]


def mapping_slot(slot: int, key: str) -> str:
    """Where a mapping from addresses that is declared at `slot` keeps the value of `key`."""
    return "0x" + keccak(slot.to_bytes(32) + to_canonical_address(key).rjust(32, b"\0")).hex()


def _bits(layout: Layout, word: str, field: str, value: int) -> int:
    low = 0
    for name, bits in layout.packed[word]:
        if name == field:
            return value >> low & (1 << bits) - 1
        low += bits
    raise KeyError(f"{word} declares no {field}")
