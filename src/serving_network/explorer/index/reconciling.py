# SPDX-License-Identifier: Apache-2.0
"""Compare the index with what the contracts answer at the index's last block, which its hash pins.

| compared | with |
|---|---|
| available money, total and additional information of each ledger | getAllLedgers |
| balance, pending refunds, nonce and additional information of each account | getAllAccounts |
| registrations, TEE signers and their confirmations | getAllServices or getServices |
| owners, lock times, implementations | owner(), lockTime(), implementation() |
| the sums of the index | the sums of what the contracts answer |
| what each user moved into and out of a service, less what was settled | the user's balances in it |
| stakes, which no contract reports | the stakes that were deposited and not returned |
| coins of each contract | at least what it owes |
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from serving_network.chain.contract import Contract
from serving_network.clients.read.providers import registered_providers
from serving_network.contracts.codec import MalformedData
from serving_network.contracts.models import FINE_TUNING
from serving_network.errors import ContractError, NodeFailure, RpcError
from serving_network.explorer.index.calls import BEACON, BY_EVENTS, COUNTED, LEDGER
from serving_network.explorer.index.events import clean, followed
from serving_network.explorer.index.found import Checked, Coins, Difference
from serving_network.explorer.index.questions import failed_in_contract
from serving_network.explorer.index.rows import AccountRow, LedgerRow, OfferRow
from serving_network.explorer.index.versions import ACCOUNT, OFFER, Table
from serving_network.explorer.index.versions import LEDGER as LEDGERS

if TYPE_CHECKING:
    from serving_network.chain.reading import AsyncReader
    from serving_network.explorer.index.events import Followed
    from serving_network.explorer.index.reading import IndexReader

MOST_SHOWN: Final = 100
SILENT: Final = "changed without an event"
"""What is counted here is no difference: no event tells that a user withdraws or repeats an acknowledgement."""
_ROWS_AT_ONCE: Final = 5_000


class Behind(NodeFailure):
    """The chain has lost the index's last block, so nothing can be compared."""


async def reconcile(index: IndexReader, chain: AsyncReader) -> Checked:
    """Compare an index, as it is in one transaction, with the contracts. Raises NodeFailure."""
    return await _Reconciliation(index, chain).run()


class _Reconciliation:
    def __init__(self, index: IndexReader, chain: AsyncReader) -> None:
        self._index = index
        self._chain = chain
        self._tip = index.tip()
        self._different = 0
        self._differences: list[Difference] = []
        self._compared: Counter[str] = Counter()
        self._unanswered: list[str] = []
        self._by_events: set[str] = {
            service
            for (service,) in index.rows(
                "SELECT contract FROM setting WHERE name = ? AND value = ? AND until IS NULL", COUNTED, BY_EVENTS
            )
        }
        self._balances: Counter[str] = Counter()
        """What each user has in accounts and in services without an account book, in wei."""

    async def run(self) -> Checked:
        await self._check_block()
        contracts = [followed(row) for row in self._index.rows("SELECT * FROM contract ORDER BY since, address")]
        for contract in contracts:
            if contract.role not in (LEDGER, BEACON):
                await self._service(contract)
        for user, amount in self._index.rows("SELECT user_address, amount FROM held WHERE until IS NULL"):
            self._balances[user] += int(amount)
        await self._ledger()
        for contract in contracts:
            await self._settings(contract)
        self._flows()
        coins = [await self._coins(contract) for contract in contracts if contract.role != BEACON]
        await self._check_block()
        return Checked(
            self._tip.block,
            self._tip.hash,
            int(time.time()),
            dict(sorted(self._compared.items())),
            self._different,
            tuple(self._differences),
            tuple(coins),
            tuple(self._unanswered),
        )

    async def _check_block(self) -> None:
        found = await self._chain.block_hash(self._tip.block) if self._tip.block >= 0 else None
        if found is None or found.lower() != self._tip.hash:
            raise Behind(
                f"The chain has no block {self._tip.block} with the hash that the index has read.",
                cause="The chain was reorganised, or the node is behind.",
                next_step="Let the index follow it: serving index run --once",
            )

    # ---------------------------------------------------------------------------------------------- listings

    async def _ledger(self) -> None:
        contract = Contract(self._chain, "LedgerManager", self._tip.ledger)
        indexed: dict[Any, LedgerRow] = dict(self._current(LEDGERS))
        answered = await contract.listing("getAllLedgers", block=self._tip.block)
        for one in answered:
            user = one["user"]
            row = indexed.pop((user,), None)
            self._compared["ledgers"] += 1
            if row is None:
                self._differ("ledger", f"ledger of {user}", "none", "exists")
                continue
            self._compare("ledger", f"available of {user}", row.available, one["availableBalance"])
            total = row.available + self._balances.pop(user, 0)
            self._compare("ledger", f"total of {user}", total, one["totalBalance"])
            self._compare("ledger", f"additional information of {user}", row.info, clean(one["additionalInfo"]))
        for (user,) in indexed:
            self._differ("ledger", f"ledger of {user}", "exists", "none")
        available = sum(one["availableBalance"] for one in answered)
        self._compare("ledger", "sum of available", self._sum(self._tip.ledger, "available"), available)
        self._compare("ledger", "number of ledgers", self._sum(self._tip.ledger, "ledgers"), len(answered))

    async def _service(self, service: Followed) -> None:
        abi = "FineTuningServing" if service.kind == FINE_TUNING else "InferenceServing"
        contract = Contract(self._chain, abi, service.address)
        accounts = dict(self._current(ACCOUNT, service.address))
        if service.address in self._by_events:
            for (_, user, _), row in accounts.items():
                self._balances[user] += row.balance
        try:
            listed = await contract.listing("getAllAccounts", block=self._tip.block)
            offers = await registered_providers(contract, block=self._tip.block)
        except (ContractError, MalformedData, RpcError) as error:
            if isinstance(error, RpcError) and not failed_in_contract(error):
                raise
            self._unanswered.append(service.name)
            return
        self._accounts(service, accounts, listed)
        self._offers(service, offers)

    def _accounts(self, service: Followed, accounts: dict[Any, AccountRow], listed: list[dict[str, Any]]) -> None:
        name = service.name
        stored = {
            (user, provider): int(pending)
            for user, provider, pending in self._index.rows(
                "SELECT user_address, provider, pending FROM account WHERE service = ? AND until IS NULL",
                service.address,
            )
        }
        for one in listed:
            key = service.address, one["user"], one["provider"]
            row = accounts.pop(key, None)
            who = f"{one['user']} with {one['provider']}"
            self._compared["accounts"] += 1
            if row is None:
                self._differ(name, f"account of {who}", "none", "exists")
                continue
            self._compare(name, f"balance of {who}", row.balance, one["balance"])
            self._compare(name, f"pending refund of {who}", row.pending, one["pendingRefund"])
            self._compare(name, f"stored pending refund of {who}", stored[key[1:]], one["pendingRefund"])
            self._compare(name, f"number of refunds of {who}", len(row.refunds), one["validRefundsLength"])
            for place, refund in enumerate(one.get("refunds", [])[: len(row.refunds)]):
                indexed = row.refunds[place]
                self._compare(name, f"refund {place} of {who}", indexed, (refund["amount"], refund["createdAt"]))
            if row.nonce is not None and not (int(row.nonce) < one["nonce"] and self._hidden(service, one["user"])):
                self._compare(name, f"nonce of {who}", int(row.nonce), one["nonce"])
            self._compare(name, f"additional information of {who}", row.info, clean(one["additionalInfo"]))
            self._compared[SILENT] += row.acknowledged != one["acknowledged"]
        for _, user, provider in accounts:
            self._differ(name, f"account of {user} with {provider}", "exists", "none")
        for what, amount in (
            ("balances", sum(one["balance"] for one in listed)),
            ("pending", sum(one["pendingRefund"] for one in listed)),
            ("accounts", len(listed)),
        ):
            self._compare(name, f"sum of {what}", self._sum(service.address, what), amount)

    def _hidden(self, service: Followed, user: str) -> bool:
        """Whether an entry of the user was accepted through a contract and paid nothing: its provider is unknown."""
        return bool(
            self._index.rows(
                "SELECT 1 FROM settlement WHERE user_address = ? AND service = ? AND provider IS NULL AND status <= 1"
                " LIMIT 1",
                user,
                service.address,
            )
        )

    def _offers(self, service: Followed, answered: list[dict[str, Any]]) -> None:
        indexed: dict[Any, OfferRow] = dict(self._current(OFFER, service.address))
        for one in answered:
            provider = one["provider"]
            row = indexed.pop((service.address, provider), None)
            self._compared["registrations"] += 1
            if row is None:
                self._differ(service.name, f"registration of {provider}", "none", "exists")
                continue
            compared = [
                ("url", row.url, clean(one["url"])),
                ("confirmation", row.confirmed, one["teeSignerAcknowledged"]),
                ("TEE signer", row.signer, one["teeSignerAddress"]),
            ]
            if "quota" in one:
                compared += [
                    ("price", row.input_price, one["pricePerToken"]),
                    ("models", json.loads(row.model), [clean(model) for model in one["models"]]),
                    ("occupied", json.loads(row.details)["occupied"], one["occupied"]),
                ]
            else:
                compared += [
                    ("input price", row.input_price, one["inputPrice"]),
                    ("output price", row.output_price, one["outputPrice"]),
                    ("model", row.model, clean(one["model"])),
                    ("additional information", row.info, clean(one["additionalInfo"])),
                ]
            for what, ours, theirs in compared:
                self._compare(service.name, f"{what} of {provider}", ours, theirs)
        for _, provider in indexed:
            self._differ(service.name, f"registration of {provider}", "exists", "none")
        self._compare(service.name, "number of providers", self._sum(service.address, "providers"), len(answered))

    # ---------------------------------------------------------------------------------------------- settings

    async def _settings(self, contract: Followed) -> None:
        """Compare owner, lock time and implementation. The penalty changes without an event."""
        if contract.role == BEACON:
            abi, views = "UpgradeableBeacon", {"owner": "owner", "implementation": "implementation"}
        elif contract.role == LEDGER:
            abi, views = "LedgerManager", {"owner": "owner"}
        elif contract.kind == FINE_TUNING:
            abi = "FineTuningServing"
            views = {"owner": "owner", "lock_time": "lockTime", "penalty": "penaltyPercentage"}
        else:
            abi, views = "InferenceServing", {"owner": "owner", "lock_time": "lockTime"}
        asked = Contract(self._chain, abi, contract.address)
        label = f"{contract.name}, beacon" if contract.role == BEACON else contract.name
        for name, view in views.items():
            found = self._index.rows(
                "SELECT value FROM setting WHERE contract = ? AND name = ? AND until IS NULL", contract.address, name
            )
            try:
                answer = str(await asked.read(view, block=self._tip.block))
            except (ContractError, MalformedData, RpcError) as error:
                if isinstance(error, RpcError) and not failed_in_contract(error):
                    raise
                continue
            indexed = found[0][0] if found else "none"
            if name == "penalty":
                self._compared[SILENT] += indexed != answer
            else:
                self._compared["settings"] += 1
                self._compare(label, name, indexed, answer)

    # ------------------------------------------------------------------------------------------------- money

    def _flows(self) -> None:
        """Compare balances and stakes with everything that flowed in and out, event by event."""
        moved: Counter[tuple[str, str]] = Counter()
        stakes: Counter[tuple[str, str]] = Counter()
        for contract, name, user, provider, text in self._events(
            "FundsTransferred", "FundsRetrieved", "FundSpent", "ProviderStaked", "ProviderStakeReturned"
        ):
            args = json.loads(text)
            if name.startswith("Provider"):
                stakes[contract, provider] += int(args["amount"]) * (1 if name == "ProviderStaked" else -1)
            else:
                moved[args["service"], user] += int(args["amount"]) * (1 if name == "FundsTransferred" else -1)
        settled: Counter[str] = Counter()
        for service, user, paid in self._settlements():
            settled[service] += int(paid)
            moved[service, user] -= int(paid)
        have: Counter[tuple[str, str]] = Counter()
        for service, user, amount in self._index.rows(
            "SELECT service, user_address, balance FROM account WHERE until IS NULL"
        ):
            have[service, user] += int(amount)
        for service, user in sorted(moved.keys() | have.keys()):
            if service not in self._by_events:  # what it holds is compared with the ledger's total
                continue
            self._compared["flows"] += 1
            self._compare(service, f"money of {user}, by flows", have[service, user], moved[service, user])
        for service, provider, amount in self._index.rows(
            "SELECT service, provider, amount FROM stake WHERE until IS NULL ORDER BY service, provider"
        ):
            self._compared["stakes"] += 1
            self._compare(service, f"stake of {provider}, by flows", int(amount), stakes.pop((service, provider), 0))
        for (service, provider), amount in sorted(stakes.items()):
            self._compare(service, f"stake of {provider}, by flows", 0, amount)
        days: Counter[str] = Counter()
        for service, paid in self._index.rows("SELECT service, paid FROM daily"):
            days[service] += int(paid)
        for service in sorted(settled.keys() | days.keys()):
            self._compare(service, "sum of settlements by day", days[service], settled[service])

    async def _coins(self, contract: Followed) -> Coins:
        """What a contract holds and owes."""
        held = await self._chain.balance(contract.address, self._tip.block)
        names = ("available",) if contract.role == LEDGER else ("balances", "stakes")
        if contract.role != LEDGER and contract.address not in self._by_events:
            names = ("held", "stakes")
        owed = sum(self._sum(contract.address, name) for name in names)
        return Coins(contract.address, contract.name, held, owed)

    # ------------------------------------------------------------------------------------------------- reading

    def _current(self, table: Table[Any], service: str | None = None) -> Iterator[tuple[Any, Any]]:
        size = len(table.key)
        where, values = (" AND service = ?", (service,)) if service else ("", ())
        for row in self._index.rows(
            f"SELECT {', '.join((*table.key, *table.columns))} FROM {table.name} WHERE until IS NULL{where}", *values
        ):
            yield tuple(row[:size]), table.row.read(tuple(row[size:]))

    def _events(self, *names: str) -> Iterator[Any]:
        marks = ", ".join("?" * len(names))
        return self._all(
            f"SELECT position, contract, name, user_address, provider, args FROM event WHERE name IN ({marks})", *names
        )

    def _settlements(self) -> Iterator[Any]:
        return self._all("SELECT position, service, user_address, paid FROM settlement WHERE status <= 1")

    def _all(self, query: str, *values: str) -> Iterator[Any]:
        """The rows of a query without their position, which comes first, some at a time."""
        after = -1
        while rows := self._index.rows(
            f"{query} AND position > ? ORDER BY position LIMIT {_ROWS_AT_ONCE}", *values, after
        ):
            yield from (row[1:] for row in rows)
            after = rows[-1][0]

    def _sum(self, contract: str, name: str) -> int:
        found = self._index.rows("SELECT amount FROM total WHERE contract = ? AND name = ?", contract, name)
        return int(found[0][0]) if found else 0

    def _compare(self, contract: str, what: str, indexed: Any, answered: Any) -> None:
        if indexed != answered:
            self._differ(contract, what, str(indexed), str(answered))

    def _differ(self, contract: str, what: str, indexed: str, answered: str) -> None:
        self._different += 1
        if len(self._differences) < MOST_SHOWN:
            self._differences.append(Difference(contract, what, indexed, answered))
