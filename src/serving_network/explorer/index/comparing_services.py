# SPDX-License-Identifier: Apache-2.0
"""Compare accounts, their refunds and deliverables, and registrations of one service with what it answers."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from serving_network.chain.contract import Contract
from serving_network.clients.read.providers import registered_pages
from serving_network.contracts.models import FINE_TUNING, artifact_of
from serving_network.errors import ContractError
from serving_network.explorer.index.account_words import penalty_flag, slot_of
from serving_network.explorer.index.comparing import (
    PAGES_AHEAD,
    SILENT,
    Comparison,
    count_current,
    current,
    in_pages,
    sum_of,
)
from serving_network.explorer.index.events import args_as_text, clean
from serving_network.explorer.index.positions import block_of
from serving_network.explorer.index.questions import Asked, Asker, Question, Word
from serving_network.explorer.index.rows import AccountRow, DeliverableRow, OfferRow
from serving_network.explorer.index.versions import ACCOUNT, DELIVERABLE, OFFER

if TYPE_CHECKING:
    from serving_network.chain.reading import AsyncReader
    from serving_network.explorer.index.events import Followed
    from serving_network.explorer.index.reading import IndexReader

_STATES: Final = {
    "added": (False, False), "acknowledged": (True, False), "abandoned": (True, True), "settled": (True, True),
    "penalised": (False, True),
}  # fmt: skip
"""The flags `acknowledged` and `settled` of a deliverable in each state."""


class ServiceComparison:
    """Compares one service as of a block, page by page."""

    def __init__(
        self, index: IndexReader, chain: AsyncReader, service: Followed, block: int, comparison: Comparison
    ) -> None:
        self._index = index
        self._chain = chain
        self._service = service
        self._block = block
        self._note = comparison
        self._abi = artifact_of(service.kind)
        self._contract = Contract(chain, self._abi, service.address)

    async def run(self) -> None:
        """Compare everything. Raises NodeFailure, and ContractError or MalformedData if the service does not answer."""
        await self._accounts()
        await self._offers()

    # ---------------------------------------------------------------------------------------------- accounts

    async def _accounts(self) -> None:
        service, name = self._service.address, self._service.name
        sums: Counter[str] = Counter()
        known = 0
        async for page in self._contract.pages("getAllAccounts", block=self._block, pages_ahead=PAGES_AHEAD):
            rows = current(self._index, ACCOUNT, [(service, one["user"], one["provider"]) for one in page])
            known += len(rows)
            both = []
            for one in page:
                sums.update(accounts=1, balances=one["balance"], pending=one["pendingRefund"])
                self._note.compared["accounts"] += 1
                row = rows.get((service, one["user"], one["provider"]))
                if row is None:
                    self._note.differ(name, f"account of {_who(one)}", "none", "exists")
                else:
                    self._account(one, row)
                    both.append((one, row))
            await self._details(both)
            await self._flags(both)
        if known < count_current(self._index, ACCOUNT, service):
            await self._unknown_accounts()
        for what in ("balances", "pending", "accounts"):
            self._note.compare(name, f"sum of {what}", sum_of(self._index, service, what), sums[what])

    def _account(self, one: dict[str, Any], row: AccountRow) -> None:
        name, who, compare = self._service.name, _who(one), self._note.compare
        compare(name, f"balance of {who}", row.balance, one["balance"])
        compare(name, f"pending refund of {who}", row.pending, one["pendingRefund"])
        compare(name, f"number of refunds of {who}", len(row.refunds), one["validRefundsLength"])
        if row.nonce is not None and not (int(row.nonce) < one["nonce"] and self._hidden(one["user"])):
            compare(name, f"nonce of {who}", int(row.nonce), one["nonce"])
        compare(name, f"additional information of {who}", row.info, clean(one["additionalInfo"]))

    def _hidden(self, user: str) -> bool:
        """Whether an entry of the user was accepted through a contract and paid nothing: its provider is unknown."""
        return bool(
            self._index.rows(
                "SELECT 1 FROM settlement WHERE user_address = ? AND service = ? AND provider IS NULL AND status <= 1"
                " LIMIT 1",
                user,
                self._service.address,
            )
        )

    async def _details(self, accounts: Sequence[tuple[dict[str, Any], AccountRow]]) -> None:
        """Compare the stored sum of pending refunds, refunds one by one, and deliverables."""
        service, name = self._service.address, self._service.name
        keys = [(service, one["user"], one["provider"]) for one, _ in accounts]
        where = "service = ? AND user_address = ? AND provider = ? AND until IS NULL"
        stored = {
            (user, provider): int(pending)
            for user, provider, pending in self._index.many(
                f"SELECT user_address, provider, pending FROM account WHERE {where}", keys
            )
        }
        deliverables: dict[tuple[str, str], dict[str, DeliverableRow]] = {}
        for user, provider, id_, *values in self._index.many(
            f"SELECT user_address, provider, deliverable_id, {', '.join(DELIVERABLE.columns)} FROM deliverable"
            f" WHERE {where}",
            keys,
        ):
            deliverables.setdefault((user, provider), {})[id_] = DeliverableRow.read(tuple(values))
        asked = []
        for one, row in accounts:
            key = one["user"], one["provider"]
            self._note.compare(name, f"stored pending refund of {_who(one)}", stored[key], one["pendingRefund"])
            number = len(deliverables.get(key, {}))
            if "deliverablesCount" in one:
                self._note.compare(name, f"number of deliverables of {_who(one)}", number, one["deliverablesCount"])
            if (row.refunds and not one.get("refunds")) or number:
                asked.append(key)
            else:
                self._refunds(one, row)
        rows = {(one["user"], one["provider"]): row for one, row in accounts}
        answers = await self._contract.read_many([("getAccount", key) for key in asked], block=self._block)
        for key, answer in zip(asked, answers, strict=True):
            self._refunds(answer, rows[key])
            if "deliverables" in answer:
                self._deliverables(answer, deliverables.get(key, {}))

    def _refunds(self, one: dict[str, Any], row: AccountRow) -> None:
        for place, (ours, theirs) in enumerate(zip(row.refunds, one.get("refunds", []), strict=False)):
            self._note.compare(
                self._service.name, f"refund {place} of {_who(one)}", ours, (theirs["amount"], theirs["createdAt"])
            )

    def _deliverables(self, account: dict[str, Any], rows: dict[str, DeliverableRow]) -> None:
        answered = {clean(one["id"]): one for one in account["deliverables"]}
        for id_ in rows.keys() | answered.keys():
            row, one = rows.get(id_), answered.get(id_)
            self._note.compared["deliverables"] += 1
            what = f"deliverable {id_} of {_who(account)}"
            if row is None or one is None:
                self._note.differ(self._service.name, what, "exists" if row else "none", "exists" if one else "none")
                continue
            ours = row.root_hash, row.added_at, _STATES.get(row.state)
            theirs = "0x" + one["modelRootHash"].hex(), one["timestamp"], (one["acknowledged"], one["settled"])
            self._note.compare(self._service.name, what, ours, theirs)

    async def _flags(self, accounts: Sequence[tuple[dict[str, Any], AccountRow]]) -> None:
        """Compare acknowledgements and penalty flags. No event tells when they change, so a difference is silent if the
        contract answered as the index says after the event of the account's version."""
        flags: dict[tuple[str, str], tuple[bool, bool | None]] = {
            (one["user"], one["provider"]): (one["acknowledged"], None) for one, _ in accounts
        }
        if self._service.kind == FINE_TUNING:
            words = await Asker(self._chain).ask([self._word(key, self._block) for key in flags], self._block)
            for one, _ in accounts:
                key = one["user"], one["provider"]
                value = words[self._word(key, self._block)].value
                flags[key] = one["acknowledged"], None if value is None else penalty_flag(value, one)
        changed = {
            (one["user"], one["provider"]): row
            for one, row in accounts
            if _differ(row, *flags[one["user"], one["provider"]])
        }
        since = self._index.many(
            "SELECT user_address, provider, since FROM account WHERE service = ? AND user_address = ? AND provider = ?"
            " AND until IS NULL",
            [(self._service.address, *key) for key in changed],
        )
        for user, provider, position in since:
            key = user, provider
            row = changed[key]
            await self._silent(key, row, flags[key], block_of(position) if row.read_at is None else row.read_at)

    async def _silent(self, key: tuple[str, str], row: AccountRow, now: tuple[bool, bool | None], block: int) -> None:
        account, word = Question(self._abi, self._service.address, "getAccount", key, block), self._word(key, block)
        asked: list[Asked] = [account] if now[1] is None else [account, word]
        answers = await Asker(self._chain).ask(asked, self._block)
        answer = answers[account]
        if answer.block == block and answer.value is not None:
            value = answers[word].value if word in answers else None
            then = answer.value["acknowledged"], None if value is None else penalty_flag(value, answer.value)
            if _differ(row, *then):
                self._note.differ(
                    self._service.name,
                    f"acknowledgement and penalty flag of {key[0]} with {key[1]}",
                    f"{row.acknowledged}, {row.penalised}",
                    f"{then[0]}, {'unknown' if then[1] is None else then[1]}",
                )
                return
        self._note.compared[SILENT] += 1

    def _word(self, key: tuple[str, str], block: int) -> Word:
        return Word(self._service.address, slot_of(*key), block)

    async def _unknown_accounts(self) -> None:
        """Name the accounts that the contract does not have."""
        keys: list[tuple[str, str]] = []
        for _, user, provider in in_pages(
            self._index,
            "SELECT service, user_address, provider FROM account WHERE until IS NULL AND service = ?",
            ("service", "user_address", "provider"),
            self._service.address,
        ):
            keys.append((user, provider))
            if len(keys) == _KEYS_AT_ONCE:
                await self._missing("getAccount", "account", keys)
                keys = []
        await self._missing("getAccount", "account", keys)

    async def _missing(self, view: str, what: str, keys: Sequence[tuple[str, ...]]) -> None:
        calls = [(self._service.address, self._contract.interface.encode(view, *key)) for key in keys]
        for key, answer in zip(keys, await self._chain.call_each(calls, block=self._block), strict=True):
            if isinstance(answer, ContractError):
                self._note.differ(self._service.name, f"{what} of {' with '.join(key)}", "exists", "none")

    # ------------------------------------------------------------------------------------------- registrations

    async def _offers(self) -> None:
        service, name = self._service.address, self._service.name
        number = known = 0
        async for page in registered_pages(self._contract, block=self._block, pages_ahead=PAGES_AHEAD):
            rows = current(self._index, OFFER, [(service, one["provider"]) for one in page])
            number += len(page)
            known += len(rows)
            for one in page:
                self._note.compared["registrations"] += 1
                row = rows.get((service, one["provider"]))
                if row is None:
                    self._note.differ(name, f"registration of {one['provider']}", "none", "exists")
                else:
                    self._offer(one, row)
        if known < count_current(self._index, OFFER, service):
            providers = self._index.rows("SELECT provider FROM offer WHERE service = ? AND until IS NULL", service)
            for start in range(0, len(providers), _KEYS_AT_ONCE):
                await self._missing("getService", "registration", providers[start : start + _KEYS_AT_ONCE])
        self._note.compare(name, "number of providers", sum_of(self._index, service, "providers"), number)

    def _offer(self, one: dict[str, Any], row: OfferRow) -> None:
        compared: list[tuple[str, Any, Any]] = [
            ("url", row.url, clean(one["url"])),
            ("confirmation", row.confirmed, one["teeSignerAcknowledged"]),
            ("TEE signer", row.signer, one["teeSignerAddress"]),
        ]
        if "quota" in one:
            details = args_as_text({"quota": one["quota"], "occupied": one["occupied"]})
            compared += [
                ("price", row.input_price, one["pricePerToken"]),
                ("models", json.loads(row.model), [clean(model) for model in one["models"]]),
                ("quota and occupied", row.details, details),
            ]
        else:
            details = args_as_text({"service_type": one["serviceType"], "verifiability": one["verifiability"]})
            compared += [
                ("input price", row.input_price, one["inputPrice"]),
                ("output price", row.output_price, one["outputPrice"]),
                ("model", row.model, clean(one["model"])),
                ("type and verifiability", row.details, details),
                ("additional information", row.info, clean(one["additionalInfo"])),
            ]
        for what, ours, theirs in compared:
            self._note.compare(self._service.name, f"{what} of {one['provider']}", ours, theirs)


_KEYS_AT_ONCE: Final = 500


def _who(one: dict[str, Any]) -> str:
    return f"{one['user']} with {one['provider']}"


def _differ(row: AccountRow, acknowledged: bool, penalised: bool | None) -> bool:
    return row.acknowledged != acknowledged or penalised not in (None, row.penalised)
