# SPDX-License-Identifier: Apache-2.0
"""What a command prints: text for people, JSON for programs, failures with their exit code.

Results go to standard output; prompts, progress and failures go to standard error, so that a pipe carries results only.
An amount in JSON is an object with `wei` and `coins`, both exact strings.

| exit code | meaning |
|---|---|
| 0 | success |
| 1 | a bug in this program |
| 2 | invalid input |
| 3 | invalid configuration, or an unknown name |
| 4 | no key, a locked key or a wrong password |
| 5 | the node or the provider's server does not answer, or the node serves another chain |
| 6 | the transaction was not sent, or failed outside the contracts |
| 7 | a contract reverted |
| 8 | sent, and not mined yet |
| 9 | a check failed |
| 130 | interrupted |
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from serving_network.errors import ServingError
from serving_network.money import describe, format_coins
from serving_network.untrusted import printable

EXIT_CHECK_FAILED = 9
EXIT_INTERRUPTED = 130
WIDTH_OF_A_PIPE = 10_000
IN_TEXTS = "\n\t\u200c\u200d"  # with the joiners of scripts and emoji
LEAST_SHOWN = (10**12, 10**6)  # wei: the last of six decimals of a coin, of three of a gwei


def money(wei: int) -> dict[str, str]:
    """An amount in JSON."""
    return {"wei": str(wei), "coins": format_coins(wei)}


def rounded(wei: int, *, at_most: bool = False) -> str:
    """An amount for people, in coins, gwei or wei, with at most six decimals.

    Rounded towards zero, so that what is shown can be spent; with `at_most` away from zero, for a cost.
    """
    for smallest in LEAST_SHOWN:
        if abs(wei) >= smallest:
            shown, cut = divmod(abs(wei), smallest)
            shown = (shown + (at_most and cut > 0)) * smallest
            return describe(-shown if wei < 0 else shown)
    return describe(wei)


class Output:
    """Prints for one command. With `as_json` only the result is printed, as one JSON document.

    Lines are never broken here: the terminal wraps them, and text copied from it stays whole.
    """

    def __init__(self, as_json: bool = False) -> None:
        self.as_json = as_json
        self._console = Console(width=None if sys.stdout.isatty() else WIDTH_OF_A_PIPE, highlight=False)
        self._errors = Console(stderr=True, width=None if sys.stderr.isatty() else WIDTH_OF_A_PIPE, highlight=False)

    def result(self, data: Any) -> None:
        """The result for programs; prints with --json only."""
        if self.as_json:
            self._write(json.dumps(data, indent=2, default=_json_value))

    def entry(self, data: Any) -> None:
        """One of many results for programs, as one line of JSON."""
        if self.as_json:
            self._write(json.dumps(data, default=_json_value))

    def line(self, text: str = "", style: str | None = None) -> None:
        """A line of the result for people. A line break in it is shown as an escape: much of it is from others."""
        if not self.as_json:
            self._console.print(Text(_line(text), style=style or ""), soft_wrap=True)

    def part(self, text: str) -> None:
        """A part of a text of many lines, such as a model's answer."""
        if not self.as_json:
            self._console.print(Text(printable(text, most=None, keep=IN_TEXTS)), soft_wrap=True, end="")

    def note(self, text: str, style: str | None = None) -> None:
        """A line beside the result, on standard error."""
        if not self.as_json:
            self._errors.print(Text(_line(text), style=style or ""), soft_wrap=True)

    def facts(self, facts: Mapping[str, str]) -> None:
        """Names and values, one a line."""
        width = max((len(name) for name in facts), default=0)
        for name, value in facts.items():
            self.line(f"{name:<{width}}  {value}")

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[str]], empty: str) -> None:
        """A table; if it does not fit the terminal, each row as a block of lines. `empty` is printed for no rows.

        In a pipe, tabs separate the columns, for cut and awk.
        """
        if self.as_json:
            return
        rows = [[_line(cell) for cell in row] for row in rows]
        if not rows:
            self.note(empty)
        elif not sys.stdout.isatty():
            self._write("\n".join("\t".join(row) for row in (columns, *rows)))
        else:
            table = Table(*columns, box=None, pad_edge=False, header_style="bold")
            for row in rows:
                table.add_row(*(Text(cell, no_wrap=True) for cell in row))
            needed = Measurement.get(self._console, self._console.options.update_width(WIDTH_OF_A_PIPE), table).maximum
            if needed <= self._console.width:
                self._console.print(table)
                return
            for row in rows:
                self.facts(dict(zip(columns, row, strict=True)))
                self.line()

    def failure(self, error: ServingError) -> int:
        """Print what failed, why, and what to do. Returns the exit code."""
        code = error.exit_code
        if self.as_json:
            sys.stderr.write(json.dumps(error.as_dict() | {"exit_code": code}, default=_json_value) + "\n")
            return code
        first, *more = map(_line, error.lines)
        self._errors.print(Text.assemble(("Error  ", "bold red"), first), soft_wrap=True)
        for one in more:
            self._errors.print(Text(f"  {one}"), soft_wrap=True)
        if error.cause:
            self._errors.print(Text.assemble(("Why    ", "bold"), _line(error.cause)), soft_wrap=True)
        if error.next_step:
            self._errors.print(Text.assemble(("Next   ", "bold green"), _line(error.next_step)), soft_wrap=True)
        transaction = getattr(error, "transaction", None)
        if transaction:
            self._errors.print(Text.assemble(("Sent   ", "bold"), transaction), soft_wrap=True)
        return code

    def _write(self, text: str) -> None:
        try:
            sys.stdout.write(text + "\n")
            sys.stdout.flush()
        except BrokenPipeError:
            # The reader has closed the pipe: write nothing more, not even when the program ends.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _line(text: str) -> str:
    return printable(text, most=None)


def _json_value(value: Any) -> Any:
    return "0x" + value.hex() if isinstance(value, bytes) else str(value)
