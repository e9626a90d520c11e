# SPDX-License-Identifier: Apache-2.0
"""What a node reports about a mined transaction."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from serving_network.addresses import to_checksum_address
from serving_network.chain.node import Log, check_log, from_quantity, is_address, is_hash
from serving_network.errors import NodeFailure

if TYPE_CHECKING:
    from eth_typing import ChecksumAddress


@dataclass(frozen=True)
class Receipt:
    """The receipt of a mined transaction. `logs` are in JSON-RPC format; `gas_price` is in wei per gas.

    The receipt of a rehearsal, in which nothing is sent, has an empty hash and no logs.
    """

    transaction_hash: str
    succeeded: bool
    block_number: int
    block_hash: str
    gas_used: int
    gas_price: int
    contract_address: ChecksumAddress | None
    logs: list[Log] = field(repr=False)

    @property
    def rehearsed(self) -> bool:
        """Whether this was a rehearsal, in which nothing was sent."""
        return not self.transaction_hash

    @property
    def cost(self) -> int:
        """The cost of the gas, in wei."""
        return self.gas_used * self.gas_price


def same_hash(reported: Any, requested: str) -> bool:
    """Whether a node reported this hash, in upper or lower case."""
    return is_hash(reported) and reported.lower() == requested.lower()


def read_receipt(found: Any, transaction_hash: str) -> Receipt:
    """Check and convert a receipt that a node sent. Raises NodeFailure."""
    if not isinstance(found, dict) or not isinstance(found.get("logs"), list) or not is_hash(found.get("blockHash")):
        raise NodeFailure("The node sent an incomplete receipt.")
    if not same_hash(found.get("transactionHash"), transaction_hash):
        raise NodeFailure("The node sent the receipt of another transaction.")
    block, status, created = from_quantity(found.get("blockNumber")), found.get("status"), found.get("contractAddress")
    if status not in ("0x0", "0x1") or not (created is None or is_address(created)):
        raise NodeFailure("The node sent an incomplete receipt.")
    for log in found["logs"]:
        check_log(log)
        if (
            not same_hash(log["transactionHash"], transaction_hash)
            or not same_hash(log["blockHash"], found["blockHash"])
            or from_quantity(log["blockNumber"]) != block
        ):
            raise NodeFailure("The node sent a receipt with the events of another transaction or block.")
    return Receipt(
        transaction_hash=transaction_hash,
        succeeded=status == "0x1",
        block_number=block,
        block_hash=found["blockHash"],
        gas_used=from_quantity(found.get("gasUsed")),
        gas_price=from_quantity(found.get("effectiveGasPrice", "0x0")),
        contract_address=to_checksum_address(created) if created else None,
        logs=found["logs"],
    )
