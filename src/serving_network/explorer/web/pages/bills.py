# SPDX-License-Identifier: Apache-2.0
"""A user's own bills: what each coin bought, from the receipts on this machine, and whether the chain agrees."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from serving_network.clients.bills.matching import Coverage, Payment
from serving_network.clients.bills.verdict import Verdict
from serving_network.counting import count
from serving_network.explorer.web.cells import Kind, Link, State, Tone
from serving_network.explorer.web.page import Entry, Missing, Note, Page
from serving_network.explorer.web.pages.addresses import checked, whole
from serving_network.explorer.web.plots import DAY, by_day
from serving_network.explorer.web.tables import Column, Listed, Order, Row, Table
from serving_network.messages.receipts import Ending, SignedReceipt
from serving_network.messages.session_tokens import SESSION_ID
from serving_network.store.bills import BillIdentity, bills_in, open_bill

SHOWN_PROBLEMS: Final = 20
_BILLS: Final = (
    Column("provider", "Provider", Kind.PROVIDER),
    Column("bill", "Bill", Kind.LINK, sortable=False),
    Column("receipts", "Receipts", Kind.COUNT),
    Column("spent", "Spent", Kind.AMOUNT, "coins"),
    Column("last", "Last answer", Kind.TIME),
    Column("verified", "Verified", Kind.STATE),
)
_MODELS: Final = (
    Column("model", "Model", Kind.TEXT),
    Column("receipts", "Answers", Kind.COUNT),
    Column("spent", "Spent", Kind.AMOUNT, "coins"),
)
_RECEIPTS: Final = (
    Column("sequence", "Receipt", Kind.COUNT),
    Column("time", "Time", Kind.TIME),
    Column("model", "Model", Kind.TEXT),
    Column("key", "Key", Kind.WORD),
    Column("input", "Input tokens", Kind.COUNT),
    Column("output", "Output tokens", Kind.COUNT),
    Column("fee", "Fee", Kind.AMOUNT, "coins"),
    Column("ending", "Answer", Kind.STATE),
)
_PAYMENTS: Final = (
    Column("block", "Block", Kind.BLOCK),
    Column("paid", "Paid", Kind.AMOUNT, "coins"),
    Column("coverage", "Receipts", Kind.STATE),
    Column("first", "From", Kind.COUNT),
    Column("last", "To", Kind.COUNT),
    Column("transaction", "Transaction", Kind.TRANSACTION, sortable=False),
)
_COVERAGE: Final = {
    Coverage.COVERED: State("covered", Tone.GOOD),
    Coverage.UNCOVERED: State("no receipt", Tone.BAD),
    Coverage.UNREADABLE: State("through a contract", Tone.WARN),
}
_UNVERIFIED: Final = State("not yet")

Verify = Callable[[BillIdentity, Sequence[SignedReceipt]], Verdict]
"""Verifies receipts against the chain."""


@dataclass
class Bills:
    """The bills of one user in a directory. Verdicts are kept until there are more receipts."""

    directory: Path
    chain_id: int
    user: str
    verify: Verify
    _verdicts: dict[str, tuple[int, Verdict]] = field(default_factory=dict)

    def found(self) -> list[tuple[BillIdentity, list[SignedReceipt]]]:
        """Every bill with its receipts. Raises BillUnusable."""
        found = []
        for identity, path in bills_in(self.directory, self.chain_id, self.user):
            with open_bill(path, identity) as bill:
                found.append((identity, bill.receipts()))
        return found

    def verdict(self, identity: BillIdentity, receipts: Sequence[SignedReceipt], *, now: bool) -> Verdict | None:
        """What the chain says about a bill; None if it was not verified yet, and not to be verified now."""
        known = self._verdicts.get(identity.file_name)
        if known is not None and known[0] == len(receipts) and not now:
            return known[1]
        if not now:
            return None
        verdict = self.verify(identity, receipts)
        self._verdicts[identity.file_name] = len(receipts), verdict
        return verdict


def bills(own: Bills) -> Page:
    """All bills of the user."""
    rows: list[Row] = []
    days: dict[int, int] = defaultdict(int)
    models: Counter[str] = Counter()
    spent: Counter[str] = Counter()
    for identity, receipts in own.found():
        verdict = own.verdict(identity, receipts, now=False)
        rows.append(
            [
                identity.provider,
                Link("show", f"/bills/{identity.provider}"),
                len(receipts),
                sum(one.receipt.fee for one in receipts),
                max((one.receipt.time for one in receipts), default=None),
                _UNVERIFIED if verdict is None else _state(verdict),
            ]
        )
        for one in receipts:
            days[one.receipt.time // DAY] += one.receipt.fee
            models[_model(one)] += 1
            spent[_model(one)] += one.receipt.fee
    by_model = [[model, number, spent[model]] for model, number in models.items()]
    total = sum(days.values())
    return Page(
        "Bills",
        "bills",
        below="From the receipts on this machine. Only this machine sees this page.",
        tiles=[
            Entry("Spent", Kind.AMOUNT, total, "coins"),
            Entry("Answers", Kind.COUNT, sum(models.values())),
            Entry("Providers", Kind.COUNT, len(rows)),
        ],
        plots=[by_day("spent", "Spending per day", "coins", days, max(days))] if days else [],
        tables=[
            Table("bills", "Bills", _BILLS, Listed(rows, _BILLS), Order("spent", falling=True),
                  empty="There are no receipts on this machine. Fetch them with:",
                  next_step="serving bill fetch PROVIDER"),
            Table("models", "By model", _MODELS, Listed(by_model, _MODELS), Order("spent", falling=True)),
        ],
    )  # fmt: skip


def bill(own: Bills, text: str, query: Mapping[str, str]) -> Page:
    """The bill of one provider, verified against the chain if asked. Raises Missing."""
    provider = checked(text)
    found = [(identity, receipts) for identity, receipts in own.found() if identity.provider == provider]
    if not found:
        raise Missing(f"There are no receipts of {provider} on this machine. Fetch them: serving bill fetch {provider}")
    identity, receipts = found[0]
    verdict = own.verdict(identity, receipts, now=query.get("verify") == "now")
    rows = [_receipt(one) for one in receipts]
    tables = [
        Table("receipts", "Receipts", _RECEIPTS, Listed(rows, _RECEIPTS), Order("sequence", falling=True), size=50)
    ]
    tiles = [Entry("Billed", Kind.AMOUNT, sum(one.receipt.fee for one in receipts), "coins"),
             Entry("Receipts", Kind.COUNT, len(receipts))]  # fmt: skip
    if verdict is not None:
        payments = [_payment(one) for one in verdict.payments]
        tables.insert(
            0, Table("payments", "Settlements", _PAYMENTS, Listed(payments, _PAYMENTS), Order("block", falling=True))
        )
        tiles += [
            Entry("Settled with receipts", Kind.AMOUNT, verdict.paid(Coverage.COVERED), "coins"),
            Entry("Settled without", Kind.AMOUNT, verdict.paid(Coverage.UNCOVERED), "coins"),
            Entry("Not settled", Kind.AMOUNT, verdict.to_settle, "coins", count(len(verdict.unsettled), "receipt")),
        ]
    return Page(
        f"Bill of {provider[:8]}",
        "bills",
        "Bill of provider",
        whole(provider),
        notes=[_verdict_note(provider, verdict)],
        tiles=tiles,
        tables=tables,
    )


def _verdict_note(provider: str, verdict: Verdict | None) -> Note:
    if verdict is None:
        return Note("Not verified against the chain yet.", link=Link("Verify now", f"/bills/{provider}?verify=now"))
    if verdict.proven:
        return Note(verdict.conclusion(f"{verdict.block:,}"), Tone.GOOD)
    problems = [f"Receipt {one.sequence}: {one.message}" for one in verdict.problems[:SHOWN_PROBLEMS]]
    return Note(
        "Not proven. Receipts may be missing on this machine:", Tone.BAD, problems, f"serving bill fetch {provider}"
    )


def _state(verdict: Verdict) -> State:
    return State("proven", Tone.GOOD) if verdict.proven else State("not proven", Tone.BAD)


def _model(one: SignedReceipt) -> str:
    return one.disclosure.model if one.disclosure else "unknown"


def _receipt(signed: SignedReceipt) -> Row:
    one = signed.receipt
    whole_answer = one.ending is Ending.COMPLETE
    return [
        one.sequence, one.time, _model(signed), "session" if one.token_id == SESSION_ID else f"key {one.token_id}",
        one.input_tokens, one.output_tokens, one.fee,
        State("complete", Tone.GOOD) if whole_answer else State("cut", Tone.WARN),
    ]  # fmt: skip


def _payment(one: Payment) -> Row:
    settled = one.settled
    return [
        settled.block_number, settled.outcome.paid, _COVERAGE[one.coverage], one.first, one.last,
        settled.transaction_hash,
    ]  # fmt: skip
