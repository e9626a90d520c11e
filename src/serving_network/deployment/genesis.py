# SPDX-License-Identifier: Apache-2.0
"""Whether a node serves the chain that a record is about: the chain id and the hash of block 0."""

from __future__ import annotations

from typing import TYPE_CHECKING

from serving_network.deployment.errors import PlanRefused
from serving_network.errors import WrongChain

if TYPE_CHECKING:
    from serving_network.chain.connection import AsyncConnection
    from serving_network.deployment.record import Record


async def genesis_hash(chain: AsyncConnection) -> str:
    """The hash of block 0."""
    return str((await chain.block(0))["hash"])


async def check_chain(chain: AsyncConnection, record: Record) -> None:
    """Check that the node serves the record's chain.

    Raises WrongChain for another chain id, and PlanRefused for another chain with the same id.
    """
    if chain.chain_id != record.chain_id:
        raise WrongChain(record.chain_id, chain.chain_id, chain.where)
    genesis = await genesis_hash(chain)
    if genesis != record.genesis:
        raise PlanRefused(
            f"{chain.where} serves another chain with the id {record.chain_id}.",
            cause=f"Its first block is {genesis}; the record of {record.network} has {record.genesis}.",
            next_step="Use a node of the right chain, or another name for this network.",
        )
