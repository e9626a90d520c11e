"""The books of a network: what each contract holds compared with what it owes.

| contract | owes |
|---|---|
| ledger | its users' available balances |
| a service | the balances of its accounts and the stakes of its providers |

A contract never holds less than it owes, and holds more only if somebody forced coins into it. Everything is read at
one block. Stakes are summed from the events since the contract's deployment.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from serving_network.errors import RpcError

if TYPE_CHECKING:
    from serving_network.chain.contract import Contract
    from serving_network.chain.reading import AsyncReader
    from serving_network.clients.read.network import AsyncNetwork


@dataclass(frozen=True, slots=True)
class BookLine:
    """One contract's books, in wei: what it holds and what it owes, by item."""

    contract: str
    address: str
    held: int
    owed: dict[str, int]

    @property
    def surplus(self) -> int:
        """What is held beyond what is owed: 0, or more if somebody forced coins in. Never less."""
        return self.held - sum(self.owed.values())


async def read_books(network: AsyncNetwork) -> list[BookLine]:
    """One line for the ledger and one for each registered service."""
    block = await network.chain.block_number()
    ledger = network.ledger_contract
    available = sum(entry["availableBalance"] for entry in await ledger.listing("getAllLedgers", block=block))
    lines = [
        BookLine("ledger", ledger.address, await network.chain.balance(ledger.address, block), {"available": available})
    ]
    for service in await network.services():
        contract = service.contract
        accounts = await contract.listing("getAllAccounts", block=block)
        owed = {
            "accounts": sum(account["balance"] for account in accounts),
            "stakes": await _stakes(network, contract, block),
        }
        held = await network.chain.balance(contract.address, block)
        lines.append(BookLine(service.name, contract.address, held, owed))
    return lines


async def _stakes(network: AsyncNetwork, contract: Contract, block: int) -> int:
    """The stakes that were deposited and not returned, from events: the contract has no view for them."""
    first = await deployment_block(network.chain, contract.address)
    topics = ["0x" + contract.interface.topic(name).hex() for name in ("ProviderStaked", "ProviderStakeReturned")]
    logs = await network.chain.logs([contract.address], topics=[topics], from_block=first, to_block=block)
    total = 0
    for log in logs:
        event = contract.interface.decode_log(log)
        if event is not None:
            total += event.args["amount"] if event.name == "ProviderStaked" else -event.args["amount"]
    return total


async def deployment_block(chain: AsyncReader, address: str) -> int:
    """The block in which a contract was deployed, or an earlier one if the node cannot tell.

    Found by bisection over the code at the address. A node that has pruned old states returns errors for them. The
    result is then 0, unless a block that it still serves shows that the contract was deployed later.
    """
    without, unknown, present = -1, -1, await chain.block_number()
    while present - max(without, unknown) > 1:
        middle = (max(without, unknown) + present) // 2
        try:
            code = await chain.code(address, middle)
        except RpcError:
            unknown = middle
        else:
            if code:
                present = middle
            else:
                without = middle
    return present if without >= unknown else 0
