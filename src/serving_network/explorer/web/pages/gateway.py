# SPDX-License-Identifier: Apache-2.0
"""The provider's own gateway: what it served and refused, what is not settled, and how fast it answers."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from serving_network.counting import count
from serving_network.explorer.web.cells import AddressWithoutPage, Kind, State, Tone
from serving_network.explorer.web.page import Entry, Group, Note, Page
from serving_network.explorer.web.plots import Plot, Series, Shape
from serving_network.explorer.web.tables import Column, Listed, Order, Row, Table
from serving_network.explorer.web.view import View
from serving_network.messages.receipts import Ending
from serving_network.store.activity import Activity, activity
from serving_network.store.location import Location
from serving_network.store.served import Summary, summarise

HOURS: Final = 72
_HOUR: Final = 3_600
_ENDINGS: Final = {
    Ending.COMPLETE: "Complete",
    Ending.CUT_BY_CLIENT: "Cut by the client",
    Ending.CUT_BY_UPSTREAM: "Cut by the model server",
    Ending.CUT_BY_STOP: "Cut when the gateway stopped",
    Ending.CRASH: "Cut by a crash",
}
_USERS: Final = (
    Column("user", "User", Kind.USER),
    Column("requests", "Requests", Kind.COUNT),
    Column("billed", "Billed", Kind.AMOUNT, "coins"),
    Column("unsettled", "Not settled", Kind.AMOUNT, "coins"),
    Column("at_risk", "At risk", Kind.AMOUNT, "coins", "What of it the balance without refunds does not cover"),
)
_REFUSALS: Final = (Column("reason", "Reason", Kind.TEXT), Column("number", "Refused", Kind.COUNT))
_LATENCY: Final = (
    Column("route", "Route", Kind.TEXT),
    Column("requests", "Answers", Kind.COUNT),
    Column("mean", "Mean", Kind.MILLISECONDS),
    Column("median", "Median at most", Kind.MILLISECONDS),
    Column("slow", "99 % at most", Kind.MILLISECONDS),
)
_SERVERS: Final = (
    Column("url", "Model server", Kind.TEXT),
    Column("state", "State", Kind.STATE),
    Column("under_way", "Under way", Kind.COUNT),
    Column("failures", "Failures in a row", Kind.COUNT),
)

Asked = Callable[[], Mapping[str, Any] | None]
"""What the running gateway says of itself, None if none runs."""


def gateway(view: View, store: Location, ask: Asked, clock: Callable[[], float] = time.time) -> Page:
    """The dashboard of the provider whose store this is. Raises JournalFailure."""
    found, recent, process = summarise(store), activity(store), ask()
    return Page(
        "Gateway",
        "gateway",
        below="From the gateway's store on this machine. Only this machine sees this page.",
        notes=_notes(process),
        tiles=_tiles(found, process, clock()),
        groups=[Group("How the newest answers ended", _endings(recent))],
        plots=_plots(recent),
        tables=[*_process_tables(process), _users(view, recent)],
    )


def _notes(process: Mapping[str, Any] | None) -> list[Note]:
    if process is None:
        return [Note("No gateway runs on this store.", Tone.WARN, next_step="serving gateway run")]
    if process["draining"]:
        step = "serving gateway drain --resume"
        return [Note("The gateway refuses new requests: it is being drained.", Tone.WARN, next_step=step)]
    return []


def _tiles(found: Summary, process: Mapping[str, Any] | None, now: float) -> list[Entry]:
    tiles = [
        Entry("Requests", Kind.COUNT, found.requests, note=f"of {count(found.users, 'user')}"),
        Entry("Billed", Kind.AMOUNT, found.billed, "coins"),
        Entry("Not settled", Kind.AMOUNT, found.unsettled, "coins"),
        Entry("At risk", Kind.AMOUNT, found.uncovered, "coins", "not covered by balances without refunds"),
    ]
    if process is None:
        return [*tiles, Entry("Streams cut", Kind.COUNT, found.begun, note="billed at the next start")]
    refused = sum(process["refused"].values())
    return [
        *tiles,
        Entry("Reserved", Kind.AMOUNT, int(process["reserved"]), "coins", f"by {process['under_way']:,} under way"),
        Entry("Refused", Kind.COUNT, refused, note="since the start"),
        Entry("Up for", Kind.SPAN, max(0, int(now) - process["started"])),
    ]


def _endings(recent: Activity) -> list[Entry]:
    entries = [Entry(words, Kind.COUNT, recent.endings.get(ending, 0)) for ending, words in _ENDINGS.items()]
    return [*entries, Entry("Looked at", Kind.COUNT, recent.looked_at, "newest requests")]


def _plots(recent: Activity) -> list[Plot]:
    if not recent.hours:
        return []
    last = recent.hours[-1].start // _HOUR
    first = max(recent.hours[0].start // _HOUR, last - HOURS + 1)
    hours = range(min(first, last - 23), last + 1)
    by_hour = {one.start // _HOUR: one for one in recent.hours}
    known = [by_hour.get(hour) for hour in hours]
    times = [hour * _HOUR for hour in hours]
    cut = [0 if one is None else one.cut for one in known]
    requests = [0 if one is None else one.requests for one in known]
    billed = [0 if one is None else one.billed for one in known]
    return [
        Plot("requests", "Requests per hour", Kind.COUNT, Shape.BARS, times,
             [Series("requests", requests), Series("cut", cut)], step=_HOUR),
        Plot("billed", "Billed per hour", Kind.AMOUNT, Shape.BARS, times, [Series("coins", billed)], step=_HOUR),
    ]  # fmt: skip


def _process_tables(process: Mapping[str, Any] | None) -> list[Table]:
    if process is None:
        return []
    refused: list[Row] = [[code, number] for code, number in process["refused"].items()]
    latency: list[Row] = [
        [route, one["answers"], *_milliseconds(one)] for route, one in process["durations"].items() if one["answers"]
    ]
    servers: list[Row] = [
        [
            one["url"],
            State("answers", Tone.GOOD) if one["available"] else State("does not answer", Tone.BAD),
            one["under_way"],
            one["failures"],
        ]
        for one in process["model_servers"]
    ]
    return [
        Table("latency", "Time until the last byte", _LATENCY, Listed(latency, _LATENCY),
              Order("requests", falling=True),
              empty="No paid request has been answered since the start.", note="Paid answers since the start."),
        Table("refusals", "Refusals", _REFUSALS, Listed(refused, _REFUSALS), Order("number", falling=True),
              empty="Nothing has been refused since the start."),
        Table("servers", "Model servers", _SERVERS, Listed(servers, _SERVERS), Order("url", falling=False)),
    ]  # fmt: skip


def _milliseconds(found: Mapping[str, Any]) -> list[int | None]:
    """The mean, and the bounds of the buckets that hold the median and the 99th percentile; None above the last."""
    mean = int(found["seconds"] * 1_000 / found["answers"])
    return [mean, _bound(found, 50), _bound(found, 99)]


def _bound(found: Mapping[str, Any], percent: int) -> int | None:
    wanted = -(-found["answers"] * percent // 100)
    for bound, number in found["at_most"].items():
        if number >= wanted:
            return int(float(bound) * 1_000)
    return None


def _users(view: View, recent: Activity) -> Table:
    """The users served. A user who is served without payment may have neither a ledger nor an account."""
    known = {one.user for one in view.users()}
    rows = [
        [
            one.user if one.user in known else AddressWithoutPage(one.user),
            one.requests,
            one.billed,
            one.unsettled,
            one.unsettled - one.covered,
        ]
        for one in recent.users
    ]
    return Table(
        "served",
        "Users served",
        _USERS,
        Listed(rows, _USERS),
        Order("unsettled", falling=True),
        empty="The gateway has served no request yet.",
    )
