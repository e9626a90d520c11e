# SPDX-License-Identifier: Apache-2.0
"""Compare the index with what the contracts answer at the index's last block, which its hash pins.

| compared | with |
|---|---|
| available money, total and additional information of each ledger | getAllLedgers |
| balance, pending refunds, nonce and additional information of each account | getAllAccounts, getAccount |
| acknowledgements and penalty flags | getAllAccounts and the account's word in storage |
| deliverables | getAccount |
| registrations, TEE signers and their confirmations | getAllServices or getServices |
| names, versions and descriptions of services, and which is recommended | getServiceInfo |
| owners, pending owners, lock times, implementations, fronts | owner(), lockTime(), implementation() and others |
| the sums of the index | the sums of what the contracts answer |
| what each user moved into and out of a service, less what was settled | the user's balances in it |
| stakes, which no contract reports | the stakes that were deposited and not returned |
| coins of each contract | at least what it owes |

Listings and the index are read in pages, so memory does not grow with them.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from serving_network.chain.contract import Contract
from serving_network.contracts.codec import MalformedData
from serving_network.contracts.models import FINE_TUNING, ZERO_ADDRESS
from serving_network.errors import ContractError, NodeFailure, RpcError
from serving_network.explorer.index.calls import BEACON, BY_EVENTS, COUNTED, LEDGER, SERVICE
from serving_network.explorer.index.comparing import (
    PAGES_AHEAD,
    SILENT,
    Comparison,
    count_current,
    current,
    in_pages,
    sum_of,
)
from serving_network.explorer.index.comparing_services import ServiceComparison
from serving_network.explorer.index.events import clean, followed
from serving_network.explorer.index.flows import compare_flows
from serving_network.explorer.index.found import Checked, Coins, Tip
from serving_network.explorer.index.questions import failed_in_contract
from serving_network.explorer.index.versions import LEDGER as LEDGERS

if TYPE_CHECKING:
    from serving_network.chain.reading import AsyncReader
    from serving_network.explorer.index.events import Followed
    from serving_network.explorer.index.reading import IndexReader

_BEACON_VIEWS: Final = {"owner": "owner", "implementation": "implementation", "front": "front"}
_OWNED: Final = {"owner": "owner", "pending_owner": "pendingOwner"}


class Behind(NodeFailure):
    """The chain has lost the index's last block, so nothing can be compared."""


async def reconcile(index: IndexReader, chain: AsyncReader) -> Checked:
    """Compare an index, as it is in one transaction, with the contracts. Raises NodeFailure."""
    return await _Reconciliation(index, chain).run()


async def check_block(tip: Tip, chain: AsyncReader) -> None:
    """Raise Behind if the index's last block is not part of the chain."""
    found = await chain.block_hash(tip.block) if tip.block >= 0 else None
    if found is None or found.lower() != tip.hash:
        raise Behind(
            f"The chain has no block {tip.block} with the hash that the index has read.",
            cause="The chain was reorganised, or the node is behind.",
            next_step="Let the index follow it: serving index run --once",
        )


class _Reconciliation:
    def __init__(self, index: IndexReader, chain: AsyncReader) -> None:
        self._index = index
        self._chain = chain
        self._tip = index.tip()
        self._note = Comparison()
        self._unanswered: list[str] = []
        self._by_events: set[str] = {
            service
            for (service,) in index.rows(
                "SELECT contract FROM setting WHERE name = ? AND value = ? AND until IS NULL", COUNTED, BY_EVENTS
            )
        }

    async def run(self) -> Checked:
        await check_block(self._tip, self._chain)
        contracts = [followed(row) for row in self._index.rows("SELECT * FROM contract ORDER BY since, address")]
        for contract in contracts:
            if contract.role == SERVICE:
                await self._service(contract)
        await self._ledgers()
        for contract in contracts:
            await self._settings(contract)
        compare_flows(self._index, self._by_events, self._note)
        coins = [await self._coins(contract) for contract in contracts if contract.role != BEACON]
        await check_block(self._tip, self._chain)
        return Checked(
            self._tip.block,
            self._tip.hash,
            int(time.time()),
            dict(sorted(self._note.compared.items())),
            self._note.different,
            tuple(self._note.differences),
            tuple(coins),
            tuple(self._unanswered),
        )

    # ---------------------------------------------------------------------------------------------- listings

    async def _service(self, service: Followed) -> None:
        try:
            await ServiceComparison(self._index, self._chain, service, self._tip.block, self._note).run()
        except (ContractError, MalformedData, RpcError) as error:
            if isinstance(error, RpcError) and not failed_in_contract(error):
                raise
            self._unanswered.append(service.name)

    async def _ledgers(self) -> None:
        contract = Contract(self._chain, "LedgerManager", self._tip.ledger)
        available = number = known = 0
        async for page in contract.pages("getAllLedgers", block=self._tip.block, pages_ahead=PAGES_AHEAD):
            users = [(one["user"],) for one in page]
            rows = current(self._index, LEDGERS, users)
            elsewhere = self._elsewhere(users)
            number += len(page)
            known += len(rows)
            for one in page:
                user = one["user"]
                available += one["availableBalance"]
                self._note.compared["ledgers"] += 1
                row = rows.get((user,))
                if row is None:
                    self._note.differ("ledger", f"ledger of {user}", "none", "exists")
                    continue
                compare = self._note.compare
                compare("ledger", f"available of {user}", row.available, one["availableBalance"])
                compare("ledger", f"total of {user}", row.available + elsewhere.get(user, 0), one["totalBalance"])
                compare("ledger", f"additional information of {user}", row.info, clean(one["additionalInfo"]))
        if known < count_current(self._index, LEDGERS):
            await self._unknown_ledgers(contract)
        indexed = sum_of(self._index, self._tip.ledger, "available")
        self._note.compare("ledger", "sum of available", indexed, available)
        self._note.compare("ledger", "number of ledgers", sum_of(self._index, self._tip.ledger, "ledgers"), number)

    def _elsewhere(self, users: Sequence[tuple[str]]) -> dict[str, int]:
        """What users have in accounts and in services without an account book."""
        found: dict[str, int] = {}
        for user, service, balance in self._index.many(
            "SELECT user_address, service, balance FROM account WHERE user_address = ? AND until IS NULL", users
        ):
            if service in self._by_events:
                found[user] = found.get(user, 0) + int(balance)
        for user, amount in self._index.many(
            "SELECT user_address, amount FROM held WHERE user_address = ? AND until IS NULL", users
        ):
            found[user] = found.get(user, 0) + int(amount)
        return found

    async def _unknown_ledgers(self, contract: Contract) -> None:
        """Name the ledgers that the contract does not have."""
        for (user,) in in_pages(self._index, "SELECT user_address FROM ledger WHERE until IS NULL", ("user_address",)):
            try:
                found = await contract.read("getLedger", user, block=self._tip.block)
            except ContractError:
                found = None
            if found is None or found["user"] != user:
                self._note.differ("ledger", f"ledger of {user}", "exists", "none")

    # ---------------------------------------------------------------------------------------------- settings

    async def _settings(self, contract: Followed) -> None:
        """Compare what owners decide. The penalty changes without an event."""
        settings = dict(
            self._index.rows("SELECT name, value FROM setting WHERE contract = ? AND until IS NULL", contract.address)
        )
        label = f"{contract.name}, beacon" if contract.role == BEACON else contract.name
        if contract.role == BEACON:
            abi, views = "UpgradeableBeacon", _BEACON_VIEWS
        elif contract.role == LEDGER:
            abi, views = "LedgerManager", _OWNED
        elif contract.kind == FINE_TUNING:
            abi, views = "FineTuningServing", _OWNED | {"lock_time": "lockTime", "penalty": "penaltyPercentage"}
        else:
            abi, views = "InferenceServing", _OWNED | {"lock_time": "lockTime"}
        asked = Contract(self._chain, abi, contract.address)
        for name, view in views.items():
            answer = await self._answer(asked, view)
            if answer is None:
                continue
            answered = "none" if answer == ZERO_ADDRESS else str(answer)
            indexed = settings.get(name, "none")
            if name == "penalty":
                self._note.compared[SILENT] += indexed != answered
            else:
                self._note.compared["settings"] += 1
                self._note.compare(label, name.replace("_", " "), indexed, answered)
        if contract.role == SERVICE:
            await self._registry(contract)

    async def _registry(self, service: Followed) -> None:
        """Compare what the ledger says of a service."""
        ledger = Contract(self._chain, "LedgerManager", self._tip.ledger)
        info = await self._answer(ledger, "getServiceInfo", service.address)
        if not isinstance(info, dict):
            return
        recommended = self._index.rows(
            "SELECT 1 FROM setting WHERE contract = ? AND name = ? AND value = ? AND until IS NULL",
            self._tip.ledger,
            f"recommended:{service.type}",
            service.address,
        )
        for what, indexed, answered in (
            ("name", service.name, clean(info["fullName"])),
            ("type", service.type, clean(info["serviceType"])),
            ("version", service.version, clean(info["version"])),
            ("description", service.description, clean(info["description"])),
            ("recommendation", bool(recommended), info["isRecommended"]),
        ):
            self._note.compared["settings"] += 1
            self._note.compare(service.address, what, indexed, answered)

    async def _answer(self, contract: Contract, view: str, *args: Any) -> Any:
        """What a view returns, None if the contract does not answer it."""
        try:
            return await contract.read(view, *args, block=self._tip.block)
        except (ContractError, MalformedData):
            return None
        except RpcError as refusal:
            if not failed_in_contract(refusal):
                raise
            return None

    # ------------------------------------------------------------------------------------------------- coins

    async def _coins(self, contract: Followed) -> Coins:
        """What a contract holds and owes."""
        held = await self._chain.balance(contract.address, self._tip.block)
        names = ("available",) if contract.role == LEDGER else ("balances", "stakes")
        if contract.role != LEDGER and contract.address not in self._by_events:
            names = ("held", "stakes")
        owed = sum(sum_of(self._index, contract.address, name) for name in names)
        return Coins(contract.address, contract.name, held, owed)
