# SPDX-License-Identifier: Apache-2.0
"""What a page is made of. Most pages are notes, totals, facts, plots and tables, in this order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from serving_network.explorer.web.cells import Kind, Link, Tone
from serving_network.explorer.web.plots import Plot
from serving_network.explorer.web.tables import Table


@dataclass(frozen=True, slots=True)
class Entry:
    """A value with its title. `note` is a sentence beside it."""

    title: str
    kind: Kind
    value: Any
    unit: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Group:
    """Facts that belong together."""

    title: str
    entries: Sequence[Entry]


@dataclass(frozen=True, slots=True)
class Note:
    """A sentence above everything else, what it lists, and the command or link that comes next."""

    words: str
    tone: Tone = Tone.PLAIN
    items: Sequence[str] = ()
    next_step: str = ""
    link: Link | None = None


@dataclass(frozen=True, slots=True)
class Tab:
    """Another view of the same thing."""

    title: str
    path: str
    current: bool


@dataclass(frozen=True, slots=True)
class Branch:
    """A sum of money, and what it consists of."""

    words: Any
    wei: int
    note: Any = ""
    parts: Sequence[Branch] = ()


@dataclass(frozen=True, slots=True)
class Page:
    """A page. `section` is the entry of the navigation that it belongs to, `kicker` says what the heading names."""

    title: str
    section: str = ""
    kicker: str = ""
    heading: Any = None
    below: Any = ""
    tabs: Sequence[Tab] = ()
    notes: Sequence[Note] = ()
    tiles: Sequence[Entry] = ()
    groups: Sequence[Group] = ()
    tree: Branch | None = None
    plots: Sequence[Plot] = ()
    tables: Sequence[Table] = ()
    searched: str = ""


@dataclass(frozen=True, slots=True)
class Moved:
    """Another page of this explorer has what was asked for."""

    path: str


class Missing(Exception):
    """There is no such page. The message says what was not found."""
