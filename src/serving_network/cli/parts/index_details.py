# SPDX-License-Identifier: Apache-2.0
"""What an index knows about a result of a search: lines for people, and the same for programs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, NamedTuple

from serving_network.cli.console.times import local_time
from serving_network.cli.console.values import plain
from serving_network.counting import count
from serving_network.money import rounded

if TYPE_CHECKING:
    from serving_network.explorer.index.found import Hit
    from serving_network.explorer.index.reading import IndexReader


class Detail(NamedTuple):
    """One thing that an index knows: a line, and the value behind it."""

    line: str
    value: Any

    def as_json(self) -> Any:
        """The value for programs. Whole numbers beyond 2^53, such as wei, are text."""
        return plain(asdict(self.value))


def details_of(index: IndexReader, hit: Hit) -> list[Detail]:
    """What an index knows about a hit, newest first."""
    known = {"user": _user, "provider": _provider, "service": _service, "transaction": _transaction}
    return list(known[hit.kind](index, hit.key)) if hit.kind in known else []


def _user(index: IndexReader, user: str) -> Iterator[Detail]:
    if (ledger := index.ledger(user)) is not None:
        yield Detail(f"ledger: {rounded(ledger.total)}, {rounded(ledger.available)} available", ledger)
    for account in index.accounts(user=user).entries:
        refunds = f", {rounded(account.pending)} being refunded" if account.pending else ""
        line = f"{account.service_name}: {rounded(account.balance)} with {account.provider}{refunds}"
        yield Detail(line, account)
    for one in index.deliverables(user=user).entries:
        yield Detail(f"{one.service_name}: deliverable {one.id} of {one.provider}, {one.state}", one)


def _provider(index: IndexReader, provider: str) -> Iterator[Detail]:
    for offer in index.offers(provider).entries:
        confirmed = "confirmed" if offer.confirmed else "not confirmed"
        ended = "" if offer.until is None else ", replaced or removed"
        line = f"{offer.service_name}: {offer.model} since {local_time(offer.since.time)}, {confirmed}{ended}"
        yield Detail(line, offer)
    for batch in index.batches(provider=provider).entries:
        yield Detail(f"{local_time(batch.at.time)}: {_batch_line(batch)}", batch)


def _service(index: IndexReader, address: str) -> Iterator[Detail]:
    for version in index.versions():
        if version.address == address:
            offered = f", offered to {version.pending_owner}" if version.pending_owner else ""
            yield Detail(f"{version.name}: owner {version.owner}{offered}", version)


def _transaction(index: IndexReader, hash_: str) -> Iterator[Detail]:
    call = index.transaction(hash_)
    if call is not None:
        what = f"{call.contract_name}.{call.function}" if call.function else "no call of the network's contracts"
        yield Detail(f"block {call.at.block}, {local_time(call.at.time)}: {what} by {call.sender}", call)
    for batch in index.batches(tx=hash_).entries:
        yield Detail(_batch_line(batch), batch)


def _batch_line(batch: Any) -> str:
    through = ", through a contract" if batch.through_contract else ""
    rows = count(batch.size, "row") if batch.form == "batch" else count(batch.size, "entry", "entries")
    return f"{batch.service_name}: settled {rows}, {rounded(batch.paid)} paid{through}"
