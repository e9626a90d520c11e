# SPDX-License-Identifier: Apache-2.0
"""A terminal: colours, lines broken at words, and tables that fit. Also what is coloured for a pipe on request.

rich is imported here only, because importing it takes longer than printing to a pipe.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import cached_property

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from serving_network.cli.console.wrapping import wrapped

WIDTH_OF_A_PIPE = 10_000


class _Pipe(Console):
    """A console that outlives its reader: a transaction is not left half reported because `head` has read enough."""

    closing: Callable[[], None]

    def on_broken_pipe(self) -> None:
        self.quiet = True
        self.closing()


class Terminal:
    """Standard output and standard error. `closing` is called when the reader of standard output has read enough."""

    def __init__(self, closing: Callable[[], None]) -> None:
        self._closing = closing

    @cached_property
    def _output(self) -> Console:
        console = _Pipe(width=None if sys.stdout.isatty() else WIDTH_OF_A_PIPE, highlight=False)
        console.closing = self._closing
        return console

    @cached_property
    def _errors(self) -> Console:
        return Console(stderr=True, width=None if sys.stderr.isatty() else WIDTH_OF_A_PIPE, highlight=False)

    def line(self, parts: Sequence[tuple[str, str]], *, error: bool) -> None:
        """Print one line of texts, each with its style, broken at words on a terminal."""
        console = self._errors if error else self._output
        text = Text.assemble(*parts)
        if not console.is_terminal:
            console.print(text, soft_wrap=True)
            return
        for indent, start, end in wrapped(text.plain, console.width):
            console.print(Text.assemble(" " * indent, text[start:end]), soft_wrap=True)

    def part(self, text: str) -> None:
        """Print a part of a text of many lines."""
        self._output.print(Text(text), soft_wrap=True, end="")

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> bool:
        """Print the table if it fits. Returns whether it does."""
        table = Table(*columns, box=None, pad_edge=False, header_style="bold")
        for row in rows:
            table.add_row(*(Text(cell, no_wrap=True) for cell in row))
        needed = Measurement.get(self._output, self._output.options.update_width(WIDTH_OF_A_PIPE), table).maximum
        if fits := needed <= self._output.width:
            self._output.print(table)
        return fits
