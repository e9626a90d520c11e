# SPDX-License-Identifier: Apache-2.0
"""`serving settle --check`: show what the first rows of a log say, without a journal, a key or a chain."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import typer

from serving_network.cli.console.output import money
from serving_network.contracts.models import Offer
from serving_network.counting import count
from serving_network.errors import ServingError
from serving_network.messages.prices import Prices, cached_divisor
from serving_network.money import rounded
from serving_network.untrusted import printable
from serving_network.usage_logs.reader import UnusableLog
from serving_network.usage_logs.sampling import Sample, fitting_preset, sample

if TYPE_CHECKING:
    from serving_network.cli.console.session import Session
    from serving_network.messages.usage import UsageRow
    from serving_network.usage_logs.reader import UsageLog

ROWS_SHOWN = 20
EXIT_REJECTED = 10
SECONDS_FOR_PRICES = 5
COLUMNS = ("line", "user", "time UTC", "input", "cached", "output", "images", "seconds", "fee")


async def show_check(session: Session, log: UsageLog, plain: bool) -> None:
    """Print the first rows and rejects. `plain` is whether neither a preset nor a columns file is used."""
    suggested = fitting_preset(log.path, log.format) if plain else None
    hint = None if suggested is None else f"The columns are those of --preset {suggested}."
    try:
        found = sample(log, ROWS_SHOWN)
    except UnusableLog as error:
        if hint is None:
            raise
        raise UnusableLog(
            error.message, cause=error.cause, next_step=f"serving settle --check {log.path} --preset {suggested}"
        ) from error
    prices = await _prices(session)
    session.out.result(_as_dict(found, prices, suggested))
    _show(session, found, prices)
    for one in [hint] if hint is not None else _ways_out(found):
        session.out.line(one, "yellow")
    if found.rejects:
        raise typer.Exit(EXIT_REJECTED)


async def _prices(session: Session) -> Prices | None:
    """The prices of the provider's service, None if there is no key, no network or no service."""
    try:
        async with asyncio.timeout(SECONDS_FOR_PRICES):
            provider = session.own_address()
            found = await (await session.reader()).offer(provider)
    except (ServingError, TimeoutError):
        return None
    if found is None or not isinstance(found.offer, Offer):
        return None
    return Prices(found.offer.input_price, found.offer.output_price, cached_divisor(found.offer.additional_info))


def _show(session: Session, found: Sample, prices: Prices | None) -> None:
    out = session.out
    rows = [_row(row, prices) for row in found.rows]
    always = {"line", "user", "time UTC", "input", "output"}
    used = [place for place, name in enumerate(COLUMNS) if name in always or any(row[place] for row in rows)]
    out.table([COLUMNS[place] for place in used], [[row[place] for place in used] for row in rows], "No row was read.")
    for one in found.rejects:
        out.line(f"Line {one.line} is rejected: {printable(one.reason)}", "yellow")
    read, rejected = count(len(found.rows), "row"), len(found.rejects)
    out.line(f"Of the first rows: {read} read, {rejected} rejected, {found.left_out} left out.")


def _ways_out(found: Sample) -> list[str]:
    """The options that make rows readable, which were rejected for a reason that an option can remove."""
    kinds = {one.reason.partition(":")[0] for one in found.rejects}
    ways = {
        "missing column": "To name a column of the log: --map FIELD=COLUMN, such as --map user=customer",
        "bad address": 'To map user names to addresses: --users FILE, with lines such as customer-7 = "0x..."',
    }
    return [way for kind, way in ways.items() if kind in kinds]


def _fee(row: UsageRow, prices: Prices | None) -> int | None:
    fees = row.fees or (None if prices is None else prices.fees_of(row))
    return None if fees is None else sum(fees)


def _row(row: UsageRow, prices: Prices | None) -> list[str]:
    fee = _fee(row, prices)
    time = datetime.fromtimestamp(row.time // 1_000_000, UTC)
    return [
        str(row.line),
        row.user,
        f"{time:%Y-%m-%d %H:%M:%S}",
        str(row.input_tokens),
        str(row.cached_tokens or ""),
        str(row.output_tokens),
        str(row.images or ""),
        str(row.seconds or ""),
        "" if fee is None else rounded(fee),
    ]


def _as_dict(found: Sample, prices: Prices | None, suggested: str | None) -> dict[str, Any]:
    return {
        "rows": [
            {
                "line": row.line,
                "request": row.request_text,
                "user": row.user,
                "time": row.time,
                "input_tokens": row.input_tokens,
                "output_tokens": row.output_tokens,
                "other_units": row.other_units(),
                "fee": None if (fee := _fee(row, prices)) is None else money(fee),
            }
            for row in found.rows
        ],
        "rejects": [one._asdict() for one in found.rejects],
        "left_out": found.left_out,
        "suggested_preset": suggested,
    }
