# SPDX-License-Identifier: Apache-2.0
"""Write a step into the index: what its events change, in the order of the chain.

Nothing that an event says can stop the index. What contradicts earlier events is recorded as an oddity, and the
reconciliation shows what came of it.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from serving_network.contracts.models import FINE_TUNING, INFERENCE, ZERO_ADDRESS
from serving_network.explorer.index import untold
from serving_network.explorer.index.account_words import penalty_flag
from serving_network.explorer.index.calls import BEACON, BY_EVENTS, BY_LEDGER, COUNTED, LEDGER
from serving_network.explorer.index.events import args_as_text, clean, stored
from serving_network.explorer.index.refunds import cancelled, paid, requested
from serving_network.explorer.index.rows import (
    AccountRow,
    DeliverableRow,
    HeldRow,
    LedgerRow,
    OfferRow,
    SettingRow,
    StakeRow,
)
from serving_network.explorer.index.sums import add_to_days, add_to_totals
from serving_network.explorer.index.untold import ACCEPTED, Change
from serving_network.explorer.index.versions import (
    ACCOUNT,
    DELIVERABLE,
    HELD,
    OFFER,
    SETTING,
    STAKE,
    Key,
    Versions,
)
from serving_network.explorer.index.versions import LEDGER as LEDGERS
from serving_network.store.schema import padded

if TYPE_CHECKING:
    from serving_network.explorer.index.events import Event
    from serving_network.explorer.index.questions import Question
    from serving_network.explorer.index.settled import Group
    from serving_network.explorer.index.steps import Step
    from serving_network.messages.typed_data import UserSettlement
    from serving_network.store.database import Database

_DAY: Final = 86_400
_MOST_INPUT: Final = 131_072
"""The longest calldata that nodes relay."""


class _Result(NamedTuple):
    """What is known about a settled row besides its event."""

    provider: str | None
    signed: UserSettlement | None
    group: Group


def record(db: Database, ledger: str, step: Step) -> None:
    """Write a step, inside the caller's transaction."""
    _Recorder(db, ledger, step).run()


class _Recorder:
    def __init__(self, db: Database, ledger: str, step: Step) -> None:
        self._db = db
        self._step = step
        self._ledger_address = ledger
        self._ledgers = Versions(db, LEDGERS)
        self._held = Versions(db, HELD)
        self._accounts = Versions(db, ACCOUNT)
        self._stakes = Versions(db, STAKE)
        self._offers = Versions(db, OFFER)
        self._deliverables = Versions(db, DELIVERABLE)
        self._settings = Versions(db, SETTING)
        self._at = {event.position: event for event in step.events}
        self._results: dict[int, _Result] = {}
        self._ends: dict[int, list[Group]] = {}
        self._paid: dict[int, int] = {}
        self._settlements: list[tuple[Any, ...]] = []
        self._batches: list[tuple[Any, ...]] = []
        self._oddities: dict[tuple[int, str], Event] = {}
        self._days: Counter[tuple[int, str, str]] = Counter()
        self._settled: Counter[tuple[int, str, str]] = Counter()

    def run(self) -> None:
        """Apply all events and write what changed."""
        self._group()
        self._load()
        for event in self._step.events:
            self._apply(event)
            for group in self._ends.get(event.position, ()):
                self._batch(event, group)
        self._write()

    def _group(self) -> None:
        """Note what each settled row belongs to, and where each group ends."""
        for group in self._step.groups:
            self._ends.setdefault(group.ends, []).append(group)
            rows: Sequence[UserSettlement | None] = group.signed or [None] * len(group.rows)
            for (event, provider), row in zip(group.rows, rows, strict=True):
                self._results[event.position] = _Result(provider, row, group)

    def _load(self) -> None:
        """Load the current versions of everything that the events touch."""
        accounts, ledgers, held, providers, deliverables = set(), set(), set(), set(), set()
        closed: set[Key] = set()
        changed: set[Key] = {(one.address,) for one in self._step.found}
        for event in self._step.events:
            contract, user, provider = event.contract, event.user, event.provider
            if contract.role == LEDGER:
                if user is not None:
                    ledgers.add((user,))
                    if (service := event.args.get("service")) is not None:
                        held.add((service, user))
                if event.name in _SETTINGS or event.name == "ServiceRegistered":
                    changed.add((contract.address,))
                continue
            address = contract.address
            if event.position in self._results:
                provider = self._results[event.position].provider
            if provider is not None:
                providers.add((address, provider))
                if user is not None:
                    accounts.add((address, user, provider))
                    if event.name == "AccountDeleted":
                        closed.add((address, user, provider))
                    deliverables |= {(address, user, provider, id_) for id_ in _deliverable_ids(event)}
            if event.name in _SETTINGS:
                changed.add((address,))
        self._accounts.load(accounts)
        self._ledgers.load(ledgers)
        self._held.load(held)
        self._offers.load(providers)
        self._stakes.load(providers)
        self._deliverables.load(deliverables)
        self._deliverables.load(closed, ("service", "user_address", "provider"))
        self._settings.load(changed, ("contract",))

    def _write(self) -> None:
        step, db = self._step, self._db
        tables: tuple[Versions[Any], ...] = (
            self._ledgers, self._held, self._accounts, self._stakes, self._offers, self._deliverables, self._settings,
        )  # fmt: skip
        for table in tables:
            table.write()
        totals: Counter[tuple[str, str]] = Counter()
        for table in tables:
            for (key, name), amount in table.changes.items():
                contract = self._ledger_address if table is self._ledgers else key[0]
                totals[contract, name] += amount
        add_to_totals(db, totals)
        add_to_days(db, self._settled, self._days)
        db.executemany("INSERT INTO contract VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", map(stored, step.found))
        db.executemany(
            "INSERT INTO block VALUES (?, ?, ?) ON CONFLICT (number) DO NOTHING",
            [(one.number, one.hash, one.time) for one in step.blocks.values()],
        )
        first: dict[str, int] = {}
        for event in step.events:
            first.setdefault(event.tx, event.position)
        db.executemany(
            "INSERT INTO tx VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (hash) DO UPDATE SET"
            " position = CASE WHEN excluded.position < tx.position THEN excluded.position ELSE tx.position END,"
            " gas_used = coalesce(tx.gas_used, excluded.gas_used), gas_cost = coalesce(tx.gas_cost, excluded.gas_cost)",
            [
                (one.hash, first[one.hash], one.sender, one.recipient, str(one.value), one.input[:_MOST_INPUT],
                 one.gas_used, None if one.gas_cost is None else str(one.gas_cost))
                for one in step.transactions.values()
            ],
        )  # fmt: skip
        db.executemany(
            "INSERT INTO event VALUES (?, ?, ?, ?, ?, ?, ?)",
            [
                (one.position, one.tx, one.contract.address, one.name, one.user, one.provider, args_as_text(one.args))
                for one in step.events
            ],
        )
        db.executemany("INSERT INTO settlement VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", self._settlements)
        db.executemany("INSERT INTO batch VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", self._batches)
        db.executemany(
            "INSERT INTO oddity VALUES (?, ?, ?, ?)",
            [(position, event.contract.address, event.tx, what) for (position, what), event in self._oddities.items()],
        )

    # ---------------------------------------------------------------------------------------------- events

    def _apply(self, event: Event) -> None:
        if not event.name:
            self._odd(event, "an event that cannot be decoded")
        elif event.name in _SETTINGS:
            self._setting(event)
        elif event.contract.role == LEDGER:
            self._of_ledger(event)
        elif event.contract.role != BEACON:
            self._of_service(event)
        if event.contract.role == BEACON:
            self._first_implementation(event)

    def _setting(self, event: Event) -> None:
        contract, args = event.contract.address, event.args
        match event.name:
            case "OwnershipTransferred":
                self._set(event, "owner", args["newOwner"])
                self._settings.end((contract, "pending_owner"), event.position)
            case "OwnershipTransferStarted" if args["newOwner"] == ZERO_ADDRESS:
                self._settings.end((contract, "pending_owner"), event.position)
            case "OwnershipTransferStarted":
                self._set(event, "pending_owner", args["newOwner"])
            case "LockTimeUpdated":
                self._set(event, "lock_time", str(args["newLockTime"]))
            case "ContractInitialized":
                self._set(event, "lock_time", str(args["lockTime"]))
            case "Upgraded":
                self._set(event, "implementation", args["implementation"])
            case "FrontAttached":
                self._set(event, "front", args["front"])
            case "BeaconUpgraded":
                self._set(event, "beacon", args["beacon"])
            case "RecommendedServiceUpdated":
                self._set(event, f"recommended:{clean(args['serviceType'])}", args["serviceAddress"])
            case "Initialized" if event.contract.role == "service":
                self._read_setting(event, "lock_time", untold.lock_time(event))
                self._read_setting(event, "penalty", untold.penalty(event))

    def _set(self, event: Event, name: str, value: str, read_at: int | None = None) -> None:
        self._settings.put((event.contract.address, name), SettingRow(value, read_at), event.position)

    def _read_setting(self, event: Event, name: str, question: Question) -> None:
        answer = self._step.answers[question]
        current = self._settings[event.contract.address, name]
        if answer.value is not None and (current is None or current.value != str(answer.value)):
            self._set(event, name, str(answer.value), answer.block)

    def _first_implementation(self, event: Event) -> None:
        """The implementation with which a beacon was created, unless it was read after it was replaced."""
        question = untold.implementation(event.contract, event)
        answer = self._step.answers.get(question)
        if answer is None or answer.value is None or self._settings[event.contract.address, "implementation"]:
            return
        upgrades = [one for one in self._step.events if one.contract == event.contract and one.name == "Upgraded"]
        if answer.block == event.block or not upgrades:
            self._set(event, "implementation", answer.value, answer.block)

    # ---------------------------------------------------------------------------------------------- ledger

    def _of_ledger(self, event: Event) -> None:
        args, position = event.args, event.position
        if event.name == "ServiceRegistered":
            self._counted(event)
            return
        user = event.user
        if user is None:
            return
        key = (user,)
        match event.name:
            case "LedgerCreated":
                info, read_at = self._first_info(event)
                self._ledgers.put(key, LedgerRow(0, info, read_at), position)
            case "LedgerDeleted":
                self._ledgers.end(key, position)
            case "LedgerInfoUpdated":
                row = self._ledger_of(event)
                self._ledgers.put(key, row._replace(info=clean(args["additionalInfo"]), read_at=None), position)
            case "Deposited" | "Refunded":
                self._ledgers.put(key, self._ledger_of(event)._replace(available=args["availableBalance"]), position)
            case "FundsRetrieved":
                self._ledgers.put(key, self._ledger_of(event)._replace(available=args["availableBalance"]), position)
                self._hold(event, -args["amount"])
            case "FundsTransferred":
                row = self._ledger_of(event)
                if args["amount"] > row.available:
                    self._odd(event, "a transfer of more than what is available")
                self._ledgers.put(key, row._replace(available=row.available - args["amount"]), position)
                self._see_whether_told(event)
                self._hold(event, args["amount"])
            case "FundSpent":
                self._hold(event, -args["amount"])

    def _first_info(self, event: Event) -> tuple[str, int | None]:
        call = untold.direct_call(event, self._step.transactions[event.tx])
        if call is not None:
            return (clean(call.args["additionalInfo"]) if call.name == "addLedger" else ""), None
        answer = self._step.answers[untold.ledger(event)]
        return clean("" if answer.value is None else answer.value["additionalInfo"]), answer.block

    def _ledger_of(self, event: Event) -> LedgerRow:
        row = self._ledgers[event.args["user"],]
        if row is None:
            self._odd(event, "a change of a ledger that was not created")
        return row or LedgerRow(0, "")

    def _counted(self, event: Event) -> None:
        """ServiceRegistered: whether the service's own events tell balances, or only the ledger's."""
        answer = self._step.answers[untold.account_book(event)]
        address = event.args["serviceAddress"]
        known = any(one.address == address and one.kind in (INFERENCE, FINE_TUNING) for one in self._step.found)
        row = SettingRow(BY_EVENTS if answer.value and known else BY_LEDGER, answer.block)
        self._settings.put((address, COUNTED), row, event.position)

    def _see_whether_told(self, event: Event) -> None:
        """FundsTransferred: a service may claim an account book, and not tell of the deposit by BalanceUpdated."""
        service, after = event.args["service"], self._at.get(event.position + 1)
        told = after is not None and after.name == "BalanceUpdated" and after.contract.address == service
        counted = self._settings[service, COUNTED]
        if not told and counted is not None and counted.value == BY_EVENTS:
            self._settings.put((service, COUNTED), SettingRow(BY_LEDGER), event.position)

    def _hold(self, event: Event, amount: int) -> None:
        """Change what a service holds for a user, if only the ledger's events tell it."""
        service, user = event.args["service"], event.args["user"]
        counted = self._settings[service, COUNTED]
        if counted is not None and counted.value == BY_LEDGER:
            row = self._held[service, user] or HeldRow(0)
            self._held.put((service, user), HeldRow(max(0, row.amount + amount)), event.position)

    # --------------------------------------------------------------------------------------------- service

    def _of_service(self, event: Event) -> None:
        args, position, address = event.args, event.position, event.contract.address
        user, provider = event.user, event.provider
        match event.name:
            case "TEESettlementResult" | "BatchRowSettled":
                self._row(event)
            case "FeesSettled":
                self._task(event)
            case _ if provider is None:
                return
            case "ProviderStaked":
                stake = self._stakes[address, provider] or StakeRow(0)
                self._stakes.put((address, provider), StakeRow(stake.amount + args["amount"]), position)
            case "ProviderStakeReturned":
                self._return_stake(event, provider)
            case "ServiceUpdated":
                self._offers.put((address, provider), self._offer(event, provider), position)
            case "ServiceRemoved":
                self._offers.end((address, provider), position)
            case "ProviderTEESignerAcknowledged":
                self._confirm(event, provider)
            case _ if user is None:
                return
            case "BalanceUpdated":
                self._balance(event, (address, user, provider))
            case "RefundRequested":
                self._request(event, (address, user, provider))
            case "AccountDeleted":
                self._accounts.end((address, user, provider), position)
                for deliverable in self._deliverables.starting_with(address, user, provider):
                    self._deliverables.end(deliverable, position)
            case "DeliverableAdded" | "DeliverableAcknowledged" | "DeliverableAbandoned" | "DeliverableEvicted":
                self._deliverable(event, (address, user, provider))
                self._read_flags(event, (address, user, provider))

    def _return_stake(self, event: Event, provider: str) -> None:
        key = event.contract.address, provider
        stake = self._stakes[key]
        if stake is None or stake.amount != event.args["amount"]:
            self._odd(event, "a returned stake that differs from what was deposited")
        self._stakes.end(key, event.position)

    def _offer(self, event: Event, provider: str) -> OfferRow:
        """The registration after ServiceUpdated: from calldata, or as the contract answered."""
        args, before = event.args, self._offers[event.contract.address, provider]
        given = untold.registration_call(event, self._step.transactions[event.tx])
        read_at = None
        if given is None:
            answer = self._step.answers[untold.registration(event)]
            given, read_at = answer.value or {}, answer.block
        if "quota" in args:
            models = [clean(one) for one in given.get("models", [])]
            offer = OfferRow(
                clean(args["url"]), args["pricePerToken"], None, json.dumps(models),
                args_as_text({"quota": args["quota"], "occupied": args["occupied"]}), args["teeSignerAddress"],
                False, None, read_at,
            )  # fmt: skip
            same = before is not None and before.signer == offer.signer
        else:
            offer = OfferRow(
                clean(args["url"]), args["inputPrice"], args["outputPrice"], clean(args["model"]),
                args_as_text({"service_type": args["serviceType"], "verifiability": args["verifiability"]}),
                given.get("teeSignerAddress"), False,
                clean(given["additionalInfo"]) if "additionalInfo" in given else None, read_at,
            )  # fmt: skip
            same = before is not None and _critical(before) == _critical(offer)
        if read_at == event.block and "teeSignerAcknowledged" in given:
            return offer._replace(confirmed=given["teeSignerAcknowledged"])
        return offer._replace(confirmed=same and before is not None and before.confirmed)

    def _confirm(self, event: Event, provider: str) -> None:
        key = event.contract.address, provider
        offer = self._offers[key]
        if offer is None:
            self._odd(event, "a confirmation for a provider that is not registered")
            return
        row = offer._replace(signer=event.args["teeSignerAddress"], confirmed=event.args["acknowledged"])
        self._offers.put(key, row, event.position)

    def _balance(self, event: Event, key: Key) -> None:
        """BalanceUpdated: an opening, a deposit, a charge or a payout. The events beside it tell which."""
        balance, pending = event.args["amount"], event.args["pendingRefund"]
        account = self._accounts[key]
        if account is None:
            ledger = self._ledgers[key[1],]
            opened = AccountRow(balance, requested((), pending, self._time(event)), info=ledger.info if ledger else "")
            self._accounts.put(key, self._with_flags(event, key, opened), event.position)
            return
        reason, other = untold.balance_change(event, self._at)
        if reason is Change.PAYOUT:
            row = account._replace(refunds=paid(account.refunds, pending))
            if row.refunds != account.refunds[len(account.refunds) - len(row.refunds) :]:
                self._odd(event, "a payout of a part of a refund")
        else:
            row = account._replace(refunds=cancelled(account.refunds, pending), acknowledged=True, read_at=None)
        if reason is Change.DEPOSIT:
            row = row._replace(penalised=False)
        elif reason is Change.TASK:
            row = row._replace(read_at=account.read_at)
        elif reason is Change.ENTRY and other is not None:
            signed = self._results[other.position].signed
            row = row._replace(nonce=None if signed is None else padded(signed.nonce))
            self._paid[other.position] = account.balance - balance
        if row.pending != pending:
            self._odd(event, "more pending refunds than were requested")
        self._accounts.put(key, self._with_flags(event, key, row._replace(balance=balance)), event.position)

    def _with_flags(self, event: Event, key: Key, row: AccountRow) -> AccountRow:
        """An account with its acknowledgement and penalty flag as they were read, if the event does not tell them."""
        _, user, provider = key
        answer = self._step.answers.get(untold.account(event, user, provider))
        if answer is None or answer.value is None:
            return row
        penalised = None
        word = self._step.answers.get(untold.account_word(event, user, provider))
        if word is not None and word.value is not None and word.block == answer.block:
            penalised = penalty_flag(word.value, answer.value)
        return row._replace(
            acknowledged=answer.value["acknowledged"],
            penalised=row.penalised if penalised is None else penalised,
            read_at=answer.block,
        )

    def _read_flags(self, event: Event, key: Key) -> None:
        """Set the acknowledgement and the penalty flag of an account, for an event that changes nothing else of it."""
        account = self._accounts[key]
        if account is None:
            return
        read = self._with_flags(event, key, account)
        if (read.acknowledged, read.penalised) != (account.acknowledged, account.penalised):
            self._accounts.put(key, read, event.position)

    def _request(self, event: Event, key: Key) -> None:
        account = self._accounts[key]
        if account is None:
            self._odd(event, "a refund from an account that was not opened")
            return
        refunds = requested(account.refunds, account.balance - account.pending, self._time(event))
        if len(refunds) != event.args["index"] + 1:
            self._odd(event, f"the refund has index {event.args['index']}, and {len(refunds)} are pending")
        self._accounts.put(key, self._with_flags(event, key, account._replace(refunds=refunds)), event.position)

    # ----------------------------------------------------------------------------------------- settlements

    def _row(self, event: Event) -> None:
        """A settled row or entry."""
        provider, signed, group = self._results[event.position]
        args, service = event.args, event.contract.address
        status, user = args["status"], event.args["user"]
        accepted = status in ACCEPTED
        key = (service, user, provider or "")
        account = self._accounts[key]
        if event.name == "BatchRowSettled":
            amount = args["paid"]
        elif signed is not None:
            amount = signed.total_fee - args["unsettledAmount"] if accepted else 0
        else:
            amount = self._paid.get(event.position, 0)
        if account is None:
            if accepted and provider is not None:
                self._odd(event, "a settlement with an account that was not opened")
        elif accepted:
            nonce = None if signed is None else padded(signed.nonce)
            row = account._replace(acknowledged=True, nonce=nonce, read_at=None)
            if event.name == "BatchRowSettled":
                if account.balance - amount != args["balance"]:
                    self._odd(event, "a balance that differs from the balance before, less what was paid")
                refunds = cancelled(account.refunds, min(account.pending, args["balance"]))
                row = row._replace(balance=args["balance"], refunds=refunds)
            self._accounts.put(key, self._with_flags(event, key, row), event.position)
        else:
            self._read_flags(event, key)
        self._settle(event, "batch" if group.form == "batch" else "entry", provider, amount, status, signed, group.ends)

    def _task(self, event: Event) -> None:
        """A settled fine-tuning task. BalanceUpdated follows it."""
        args, service = event.args, event.contract.address
        user, provider, id_ = args["user"], args["provider"], clean(args["deliverableId"])
        call = untold.direct_call(event, self._step.transactions[event.tx])
        signed = None
        if call is not None and call.name == "settleFees":
            (given,) = call.args.values()
            if (given["user"], clean(given["id"]), given["nonce"]) == (user, id_, args["nonce"]):
                signed = given["taskFee"]
        if not args["acknowledged"]:
            self._read_setting(event, "penalty", untold.penalty(event))
        account = self._accounts[service, user, provider]
        if account is None:
            self._odd(event, "a settlement with an account that was not opened")
        else:
            row = account._replace(nonce=padded(args["nonce"]), acknowledged=True)
            row = row if args["acknowledged"] else row._replace(penalised=True, read_at=None)
            self._accounts.put((service, user, provider), row, event.position)
        key = service, user, provider, id_
        deliverable = self._deliverables[key]
        if deliverable is None:
            self._odd(event, "a settlement of a deliverable that was not added")
        else:
            state = "settled" if args["acknowledged"] else "penalised"
            self._deliverables.put(key, deliverable._replace(state=state, paid=args["fee"]), event.position)
        self._count(event, provider, args["fee"])
        fee = signed if signed is not None else args["fee"] if args["acknowledged"] else None
        self._settlements.append(
            (
                event.position, service, provider, user, "task", None, event.tx, 0 if args["acknowledged"] else 1,
                str(args["fee"]), None if fee is None else str(fee), padded(args["nonce"]), None, id_,
                int(signed is None),
            )
        )  # fmt: skip

    def _settle(
        self, event: Event, form: str, provider: str | None, amount: int, status: int, signed: UserSettlement | None,
        batch: int,
    ) -> None:  # fmt: skip
        self._paid[event.position] = amount
        if status in ACCEPTED and provider is not None:
            self._count(event, provider, amount)
        self._settlements.append(
            (
                event.position, event.contract.address, provider, event.user, form, batch, event.tx, status,
                str(amount), None if signed is None else str(signed.total_fee),
                None if signed is None else padded(signed.nonce),
                None if signed is None else "0x" + signed.requests_hash.hex(), None, int(signed is None),
            )
        )  # fmt: skip

    def _count(self, event: Event, provider: str, amount: int) -> None:
        day = self._time(event) // _DAY, event.contract.address, provider
        self._settled[day] += 1
        self._days[day] += amount

    def _batch(self, last: Event, group: Group) -> None:
        """A group of rows, once its last event was applied."""
        rows = [event for event, _ in group.rows]
        amount = sum(self._paid[event.position] for event in rows)
        if last.name == "BatchSettled" and last.args["paid"] != amount:
            group.complaint = (
                group.complaint or f"{amount} wei were paid by rows of a BatchSettled of {last.args['paid']}"
            )
        if group.complaint is not None:
            self._odd(last, group.complaint)
        self._batches.append(
            (
                last.position, last.contract.address, group.provider, group.form, last.tx, len(rows),
                sum(event.args["status"] in ACCEPTED for event in rows), str(amount),
                None if group.signed is None else str(sum(row.total_fee for row in group.signed)),
                int(group.signed is None),
            )
        )  # fmt: skip

    # ---------------------------------------------------------------------------------------- deliverables

    def _deliverable(self, event: Event, account: Key) -> None:
        args, position = event.args, event.position
        match event.name:
            case "DeliverableEvicted":
                self._deliverables.end((*account, clean(args["evictedDeliverableId"])), position)
                return
            case "DeliverableAdded":
                row = DeliverableRow("0x" + args["modelRootHash"].hex(), self._time(event), "added")
                self._deliverables.put((*account, clean(args["deliverableId"])), row, position)
                return
        key = (*account, clean(args["deliverableId"]))
        found = self._deliverables[key]
        if found is None:
            self._odd(event, "a change of a deliverable that was not added")
            return
        state = "abandoned" if event.name == "DeliverableAbandoned" else "acknowledged"
        self._deliverables.put(key, found._replace(state=state), position)

    def _time(self, event: Event) -> int:
        return self._step.blocks[event.block].time

    def _odd(self, event: Event, what: str) -> None:
        self._oddities[event.position, what] = event


_SETTINGS: Final = frozenset(
    {
        "OwnershipTransferred", "OwnershipTransferStarted", "LockTimeUpdated", "ContractInitialized", "Upgraded",
        "FrontAttached", "BeaconUpgraded", "RecommendedServiceUpdated", "Initialized",
    }
)  # fmt: skip


def _deliverable_ids(event: Event) -> Iterable[str]:
    names = ("deliverableId", "evictedDeliverableId")
    return [clean(event.args[name]) for name in names if isinstance(event.args.get(name), str)]


def _critical(offer: OfferRow) -> Sequence[object]:
    """What an update of inference must not change if the owner's confirmation is to stay."""
    return offer.model, offer.details, offer.signer, offer.info
