# SPDX-License-Identifier: Apache-2.0
"""Read an index: what programs and pages show of a network.

Lists are read page by page: pass `after` of a page to get the next one. Addresses are accepted in any case. Each method
sees the index as it is at that moment; to see one state in several calls, open it with `opening.reading`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final, TypeVar

from serving_network.addresses import is_hex_address, to_checksum_address
from serving_network.explorer.index.calls import BY_EVENTS, COUNTED, decoded_call
from serving_network.explorer.index.checked import checked_from
from serving_network.explorer.index.found import (
    AccountFound,
    BatchFound,
    CallFound,
    Checked,
    DeliverableFound,
    Hit,
    LedgerFound,
    Oddity,
    OfferVersion,
    Page,
    Place,
    RefundFound,
    ServiceTotals,
    Tip,
    Totals,
    Version,
)
from serving_network.explorer.index.positions import BLOCK_SQL, block_of, end_of, log_index_of, position_of
from serving_network.store.database import Database

PAGE: Final = 50
_DAY: Final = 86_400

T = TypeVar("T")

_BATCH: Final = (
    "SELECT s.position, b.time, s.tx, s.service, c.name, s.provider, s.form, s.size, s.accepted, s.paid, s.fee,"
    f" s.through_contract, t.gas_used, t.gas_cost FROM batch s JOIN block b ON b.number = s.position {BLOCK_SQL}"
    " LEFT JOIN tx t ON t.hash = s.tx LEFT JOIN contract c ON c.address = s.service"
)
_CALL: Final = (
    "SELECT s.position, b.time, s.hash, s.sender, s.recipient, c.name, s.value, s.input, s.gas_used, s.gas_cost,"
    " c.role, c.kind FROM tx s"
    f" JOIN block b ON b.number = s.position {BLOCK_SQL} LEFT JOIN contract c ON c.address = s.recipient"
)
_OFFER: Final = (
    "SELECT s.since, b.time, e.tx, s.service, c.name, c.kind, s.provider, s.url, s.input_price, s.output_price,"
    " s.model, s.details, s.signer, s.confirmed, s.info, s.until, s.read_at FROM offer s"
    f" JOIN block b ON b.number = s.since {BLOCK_SQL} JOIN event e ON e.position = s.since"
    " LEFT JOIN contract c ON c.address = s.service"
)
_ACCOUNT: Final = (
    "SELECT s.since, b.time, e.tx, s.service, c.name, s.user_address, s.provider, s.balance, s.pending, s.refunds,"
    " s.nonce, s.acknowledged, s.penalised, s.info, s.until, s.read_at, l.value FROM account s"
    f" JOIN block b ON b.number = s.since {BLOCK_SQL} JOIN event e ON e.position = s.since"
    " LEFT JOIN contract c ON c.address = s.service"
    " LEFT JOIN setting l ON l.contract = s.service AND l.name = 'lock_time' AND l.until IS NULL"
)
_DELIVERABLE: Final = (
    "SELECT s.since, b.time, e.tx, s.service, c.name, s.user_address, s.provider, s.deliverable_id, s.root_hash,"
    f" s.added_at, s.state, s.paid FROM deliverable s JOIN block b ON b.number = s.since {BLOCK_SQL}"
    " JOIN event e ON e.position = s.since LEFT JOIN contract c ON c.address = s.service"
)


class IndexReader:
    """Reads an index through one connection, in one thread at a time."""

    def __init__(self, db: Database) -> None:
        self._db = db

    # -------------------------------------------------------------------------------------------- the network

    def tip(self) -> Tip:
        """The network, and the last block that was read."""
        meta = dict(self.rows("SELECT key, value FROM meta"))
        numbers = {name: int(meta[name]) for name in ("chain_id", "block", "time", "head", "looked_at")}
        return Tip(**numbers, ledger=meta["ledger"], hash=meta["hash"], reorganisations=int(meta["reorganisations"]))

    def checked(self) -> Checked | None:
        """The last reconciliation with the contracts, None if there was none."""
        found = self.rows("SELECT value FROM meta WHERE key = 'checked'")
        return checked_from(found[0][0]) if found else None

    def contents(self) -> dict[str, int]:
        """How many rows of each kind there are."""
        counted = {
            "events": "event",
            "transactions": "tx",
            "settlements": "settlement",
            "users": "ledger WHERE until IS NULL",
            "providers": "offer WHERE until IS NULL",
            "services": "contract WHERE role = 'service'",
            "oddities": "oddity",
        }
        return {name: self.rows(f"SELECT count(*) FROM {table}")[0][0] for name, table in counted.items()}

    def totals(self) -> Totals:
        """The sums of the network and of each service."""
        sums = {(contract, name): int(amount) for contract, name, amount in self.rows("SELECT * FROM total")}
        settled: dict[str, list[int]] = {}
        for service, number, paid in self.rows("SELECT service, settlements, paid FROM daily"):
            of_service = settled.setdefault(service, [0, 0])
            of_service[0] += number
            of_service[1] += int(paid)
        services = [
            ServiceTotals(
                address,
                name,
                kind,
                *(sums.get((address, what), 0) for what in _SERVICE_SUMS),
                *settled.get(address, [0, 0]),
            )
            for address, name, kind in self.rows(
                "SELECT address, name, kind FROM contract WHERE role = 'service' ORDER BY since"
            )
        ]
        ledger = self.tip().ledger
        return Totals(sums.get((ledger, "ledgers"), 0), sums.get((ledger, "available"), 0), tuple(services))

    def versions(self) -> list[Version]:
        """All registered services, oldest first."""
        settings: dict[tuple[str, str], str] = {
            (contract, name): value
            for contract, name, value in self.rows("SELECT contract, name, value FROM setting WHERE until IS NULL")
        }
        ledger = self.tip().ledger
        found = []
        for address, kind, name, type_, version, description, since, time, tx in self.rows(
            "SELECT c.address, c.kind, c.name, c.type, c.version, c.description, c.since, b.time, e.tx FROM contract c"
            f" JOIN block b ON b.number = c.since {BLOCK_SQL} JOIN event e ON e.position = c.since"
            " WHERE c.role = 'service' ORDER BY c.since"
        ):
            of = {what: settings.get((address, what)) for what in _VERSION_SETTINGS}
            beacon = of["beacon"] or ""
            found.append(
                Version(
                    address=address,
                    name=name,
                    kind=kind,
                    type=type_,
                    version=version,
                    description=description,
                    recommended=settings.get((ledger, f"recommended:{type_}")) == address,
                    registered=_place(since, time, tx),
                    owner=of["owner"],
                    pending_owner=of["pending_owner"],
                    lock_time=_number(of["lock_time"]),
                    penalty=_number(of["penalty"]),
                    beacon=of["beacon"],
                    implementation=settings.get((beacon, "implementation")),
                    upgrade_owner=settings.get((beacon, "owner")),
                )
            )
        return found

    def oddities(self, *, after: str | None = None, limit: int = PAGE) -> Page[Oddity]:
        """Events that contradict the others or cannot be decoded, newest first."""
        where, values = _where(("s.position < ?", _position(after)))
        rows = self.rows(
            "SELECT s.position, b.time, s.tx, s.contract, c.name, s.what FROM oddity s"
            f" JOIN block b ON b.number = s.position {BLOCK_SQL} LEFT JOIN contract c ON c.address = s.contract{where}"
            " ORDER BY s.position DESC LIMIT ?",
            *values,
            limit + 1,
        )
        found = [Oddity(contract, name or "", what, _place(*place)) for *place, contract, name, what in rows]
        return _page(found, limit, lambda one: one.at.position)

    # -------------------------------------------------------------------------------------------- providers

    def offers(
        self, provider: str, *, service: str | None = None, after: str | None = None, limit: int = PAGE
    ) -> Page[OfferVersion]:
        """Everything that a provider ever registered, newest first: the history of its prices."""
        where, values = _where(
            ("s.provider = ?", _address(provider)),
            ("s.service = ?", service and _address(service)),
            ("s.since < ?", _position(after)),
        )
        rows = self.rows(f"{_OFFER}{where} ORDER BY s.since DESC LIMIT ?", *values, limit + 1)
        return _page([_offer(row) for row in rows], limit, lambda one: one.since.position)

    def registered(self) -> list[OfferVersion]:
        """What all providers have registered now, without what they settled."""
        return [_offer(row) for row in self.rows(f"{_OFFER} WHERE s.until IS NULL")]

    # ------------------------------------------------------------------------------------------------- users

    def ledger(self, user: str) -> LedgerFound | None:
        """A user's ledger, or None."""
        rows = self.rows(f"{_LEDGER} AND s.user_address = ?", _address(user))
        return self._ledger(rows[0]) if rows else None

    def _ledger(self, row: Sequence[Any]) -> LedgerFound:
        *place, user, available, info, read_at = row
        balances = self.rows(
            "SELECT a.balance FROM account a JOIN setting s ON s.contract = a.service AND s.name = ? AND s.value = ?"
            " AND s.until IS NULL WHERE a.user_address = ? AND a.until IS NULL",
            COUNTED,
            BY_EVENTS,
            user,
        )
        held = self.rows("SELECT amount FROM held WHERE user_address = ? AND until IS NULL", user)
        return LedgerFound(
            user,
            int(available),
            sum(int(one) for (one,) in balances),
            sum(int(one) for (one,) in held),
            info,
            _place(*place),
            read_at,
        )

    def accounts(
        self, *, user: str | None = None, provider: str | None = None, service: str | None = None,
        refunding: bool = False, after: str | None = None, limit: int = PAGE,
    ) -> Page[AccountFound]:  # fmt: skip
        """Current accounts, newest change first. With `refunding`, those with pending refunds."""
        where, values = _where(
            ("s.user_address = ?", user and _address(user)),
            ("s.provider = ?", provider and _address(provider)),
            ("s.service = ?", service and _address(service)),
            ("s.since < ?", _position(after)),
            also=["s.until IS NULL", *(["s.pending <> '0'"] if refunding else [])],
        )
        rows = self.rows(f"{_ACCOUNT}{where} ORDER BY s.since DESC LIMIT ?", *values, limit + 1)
        return _page([_account(row) for row in rows], limit, lambda one: one.since.position)

    def deliverables(
        self, *, user: str | None = None, provider: str | None = None, after: str | None = None, limit: int = PAGE
    ) -> Page[DeliverableFound]:
        """Deliverables that the contracts keep, newest change first."""
        where, values = _where(
            ("s.user_address = ?", user and _address(user)),
            ("s.provider = ?", provider and _address(provider)),
            ("s.since < ?", _position(after)),
            also=["s.until IS NULL"],
        )
        rows = self.rows(f"{_DELIVERABLE}{where} ORDER BY s.since DESC LIMIT ?", *values, limit + 1)
        return _page([_deliverable(row) for row in rows], limit, lambda one: one.since.position)

    # ------------------------------------------------------------------------------------------ settlements

    def batches(
        self, *, provider: str | None = None, tx: str | None = None, after: str | None = None, limit: int = PAGE
    ) -> Page[BatchFound]:
        """Calls that settled rows together, newest first."""
        where, values = _where(
            ("s.provider = ?", provider and _address(provider)),
            ("s.tx = ?", tx and tx.lower()),
            ("s.position < ?", _position(after)),
        )
        rows = self.rows(f"{_BATCH}{where} ORDER BY s.position DESC LIMIT ?", *values, limit + 1)
        return _page([_batch(row) for row in rows], limit, lambda one: one.at.position)

    def batch(self, key: int) -> BatchFound | None:
        """One batch, or None. Its rows are `settlements(batch=key)`."""
        rows = self.rows(f"{_BATCH} WHERE s.position = ?", key)
        return _batch(rows[0]) if rows else None

    # ----------------------------------------------------------------------------------------- transactions

    def transactions(
        self, *, sender: str | None = None, block: int | None = None, after: str | None = None, limit: int = PAGE
    ) -> Page[CallFound]:
        """Transactions with events, newest first, with their calls decoded."""
        where, values = _where(
            ("s.sender = ?", sender and _address(sender)),
            ("s.position >= ?", None if block is None else position_of(block, 0)),
            ("s.position < ?", None if block is None else end_of(block)),
            ("s.position < ?", _position(after)),
        )
        rows = self.rows(f"{_CALL}{where} ORDER BY s.position DESC LIMIT ?", *values, limit + 1)
        return _page([_call(row) for row in rows], limit, lambda one: one.at.position)

    def transaction(self, hash_: str) -> CallFound | None:
        """One transaction, or None. Its events are `events(tx=hash)`."""
        rows = self.rows(f"{_CALL} WHERE s.hash = ?", hash_.lower())
        return _call(rows[0]) if rows else None

    # ----------------------------------------------------------------------------------------------- search

    def search(self, text: str) -> list[Hit]:
        """What an address, a transaction's hash, a block's number or the start of a service's name stands for."""
        wanted = text.strip()
        if is_hex_address(wanted):
            return self._of_address(to_checksum_address(wanted))
        if self.transaction(wanted) is not None:
            return [Hit("transaction", wanted.lower(), wanted.lower())]
        hits = []
        if wanted.isascii() and wanted.isdecimal() and len(wanted) < 13:
            rows = self.rows("SELECT number FROM block WHERE number = ?", int(wanted))
            hits += [Hit("block", str(number), f"block {number}") for (number,) in rows]
        if wanted:
            rows = self.rows("SELECT address, name FROM contract WHERE role = 'service' ORDER BY since")
            hits += [Hit("service", address, name) for address, name in rows if name.startswith(wanted.lower())]
            rows = self.rows(
                "SELECT DISTINCT provider, model FROM offer WHERE until IS NULL ORDER BY model, provider LIMIT 2000"
            )
            found = [Hit("provider", provider, model) for provider, model in rows if wanted.lower() in model.lower()]
            hits += found[:PAGE]
        return hits

    def _of_address(self, address: str) -> list[Hit]:
        hits = []
        for role, name in self.rows("SELECT role, name FROM contract WHERE address = ?", address):
            hits.append(Hit("service" if role == "service" else "contract", address, name or role))
        if self.rows("SELECT 1 FROM offer WHERE provider = ? LIMIT 1", address) or self.rows(
            "SELECT 1 FROM account WHERE provider = ? LIMIT 1", address
        ):
            hits.append(Hit("provider", address, address))
        if self.rows("SELECT 1 FROM ledger WHERE user_address = ? LIMIT 1", address) or self.rows(
            "SELECT 1 FROM event WHERE user_address = ? LIMIT 1", address
        ):
            hits.append(Hit("user", address, address))
        return hits

    def rows(self, sql: str, *values: Any) -> list[Any]:
        """The rows of a query."""
        return self._db.execute(sql, values).fetchall()

    def many(self, sql: str, values: Sequence[Sequence[Any]]) -> list[Any]:
        """The rows of a query that is run once for each of these values."""
        return self._db.query_many(sql, values)


_SERVICE_SUMS: Final = ("accounts", "providers", "balances", "pending", "stakes", "held")
_VERSION_SETTINGS: Final = ("owner", "pending_owner", "lock_time", "penalty", "beacon")
_LEDGER: Final = (
    "SELECT s.since, b.time, e.tx, s.user_address, s.available, s.info, s.read_at FROM ledger s"
    f" JOIN block b ON b.number = s.since {BLOCK_SQL} JOIN event e ON e.position = s.since WHERE s.until IS NULL"
)


def _address(text: str) -> str:
    return to_checksum_address(text)


def _position(after: str | None) -> int | None:
    """The position that a page ended with. Whatever else a stranger writes stands for the beginning."""
    return int(after) if after and after.isascii() and after.isdecimal() and len(after) < 19 else None


def _where(*conditions: tuple[str, Any], also: Sequence[str] = ()) -> tuple[str, list[Any]]:
    """The conditions that have a value, as a WHERE clause, and their values."""
    given = [(sql, value) for sql, value in conditions if value is not None]
    clauses = [*(sql for sql, _ in given), *also]
    return (" WHERE " + " AND ".join(clauses) if clauses else ""), [value for _, value in given]


def _page(entries: list[T], limit: int, position: Any) -> Page[T]:
    """A page of entries, of which one more than `limit` were read."""
    shown = tuple(entries[:limit])
    return Page(shown, str(position(shown[-1])) if len(entries) > limit else None)


def _place(position: int, time: int, tx: str) -> Place:
    return Place(position, block_of(position), log_index_of(position), time, tx)


def _number(text: str | None) -> int | None:
    return None if text is None else int(text)


def _batch(row: Sequence[Any]) -> BatchFound:
    position, time, tx, service, name, provider, form, size, accepted, paid, fee, through, used, cost = row
    return BatchFound(
        position, service, name or "", provider, form, size, accepted, int(paid), _number(fee), bool(through),
        used, _number(cost), _place(position, time, tx),
    )  # fmt: skip


def _call(row: Sequence[Any]) -> CallFound:
    *place, sender, recipient, name, value, data, gas_used, gas_cost, role, kind = row
    call = decoded_call(role, kind, bytes(data)) if role is not None else None
    return CallFound(
        place[2], _place(*place), sender, recipient, name, int(value), bytes(data), gas_used,
        _number(gas_cost), call.name if call else None, call.args if call else None,
    )  # fmt: skip


def _offer(row: Sequence[Any]) -> OfferVersion:
    (
        *place, service, name, kind, provider, url, input_price, output_price, model, details, signer, confirmed, info,
        until, read_at,
    ) = row  # fmt: skip
    models = tuple(json.loads(model)) if kind == "fine-tuning" else (model,)
    return OfferVersion(
        service, name or "", kind or "", provider, url, int(input_price), _number(output_price), ", ".join(models),
        models, json.loads(details), signer, bool(confirmed), info, _place(*place), until, read_at,
    )  # fmt: skip


def _account(row: Sequence[Any]) -> AccountFound:
    (
        *place, service, name, user, provider, balance, pending, refunds, nonce, acknowledged, penalised, info, until,
        read_at, lock_time,
    ) = row  # fmt: skip
    lock = _number(lock_time)
    return AccountFound(
        service=service,
        service_name=name or "",
        user=user,
        provider=provider,
        balance=int(balance),
        pending=int(pending),
        refunds=tuple(
            RefundFound(int(amount), created, None if lock is None else created + lock)
            for amount, created in json.loads(refunds)
        ),
        nonce=_number(nonce),
        acknowledged=bool(acknowledged),
        penalised=bool(penalised),
        info=info,
        since=_place(*place),
        until=until,
        read_at=read_at,
    )


def _deliverable(row: Sequence[Any]) -> DeliverableFound:
    *place, service, name, user, provider, id_, root_hash, added_at, state, paid = row
    return DeliverableFound(
        service, name or "", user, provider, id_, root_hash, added_at, state, _number(paid), _place(*place)
    )
