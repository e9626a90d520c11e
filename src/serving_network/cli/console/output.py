# SPDX-License-Identifier: Apache-2.0
"""What a command prints: text for people, JSON for programs, failures with their exit code.

Results go to standard output; prompts, progress and failures go to standard error, so that a pipe carries results only.
In a pipe, a table is rows only: the lines below it go to standard error.
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
| 13 | declined: the answer to a question was no |
| 130 | interrupted |
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import IO, TYPE_CHECKING, Any, Self

from serving_network.errors import ServingError
from serving_network.money import format_coins
from serving_network.untrusted import printable

if TYPE_CHECKING:
    from serving_network.cli.console.terminal import Terminal

EXIT_CHECK_FAILED = 9
EXIT_DECLINED = 13
EXIT_INTERRUPTED = 130
COLOURING = frozenset({"FORCE_COLOR", "TTY_COMPATIBLE"})
"""Variables that ask for colours in a pipe."""
IN_TEXTS = "\n\t\u200c\u200d"  # with the joiners of scripts and emoji


def money(wei: int) -> dict[str, str]:
    """An amount in JSON."""
    return {"wei": str(wei), "coins": format_coins(wei)}


def close_output() -> None:
    """Write nothing more to standard output, whose reader has closed the pipe, not even when the program ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class Output:
    """Prints for one command. With `as_json` only the result is printed, as one JSON document.

    On a terminal, lines are broken at words. `closed` says that the reader of a pipe has read enough.
    """

    def __init__(self, as_json: bool = False, *, wide: bool = False) -> None:
        self.as_json = as_json
        self._wide = wide
        self._closed = False
        self._is_rows = False

    @cached_property
    def _terminal(self) -> Terminal:
        from serving_network.cli.console.terminal import Terminal

        return Terminal(self._close)

    @property
    def closed(self) -> bool:
        """Whether nobody reads standard output any more."""
        return self._closed

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
            self._print((_line(text), style or ""), error=self._is_rows)

    def part(self, text: str) -> None:
        """A part of a text of many lines, such as a model's answer."""
        if not self.as_json:
            self._terminal.part(printable(text, most=None, keep=IN_TEXTS))

    def document(self, text: str) -> None:
        """A text for a file or a variable: alone on standard output, as it is."""
        if not self.as_json:
            self._write(text.rstrip("\n"))

    def note(self, text: str, style: str | None = None) -> None:
        """A line beside the result, on standard error."""
        if not self.as_json:
            self._print((_line(text), style or ""), error=True)

    def facts(self, facts: Mapping[str, str]) -> None:
        """Names and values, one a line."""
        width = max((len(name) for name in facts), default=0)
        for name, value in facts.items():
            self.line(f"{name:<{width}}  {value}")

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[str]], empty: str) -> None:
        """A table, with shortened addresses if it does not fit the terminal; `empty` is printed for no rows.

        If that does not fit either, or if addresses must stay whole, each row is a block of lines. In a pipe, tabs
        separate the columns, for cut and awk, an address has no name beside it, and what is printed afterwards goes to
        standard error.
        """
        if self.as_json:
            return
        rows = [[cell if isinstance(cell, Named) else _line(cell) for cell in row] for row in rows]
        self._is_rows = not sys.stdout.isatty()
        if not rows:
            self.note(empty)
        elif self._is_rows:
            values = [[cell.address if isinstance(cell, Named) else cell for cell in row] for row in rows]
            self._write("\n".join("\t".join(row) for row in (columns, *values)))
        elif not self._terminal.table(columns, rows) and (self._wide or not self._print_shortened(columns, rows)):
            for row in rows:
                self.facts(dict(zip(columns, row, strict=True)))
                self.line()

    def _print_shortened(self, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> bool:
        from serving_network.cli.console.wrapping import shortened

        return self._terminal.table(columns, shortened(rows))

    def failure(self, error: ServingError) -> int:
        """Print what failed, why, and what to do. Returns the exit code."""
        code = error.exit_code
        if self.as_json:
            sys.stderr.write(json.dumps(error.as_dict() | {"exit_code": code}, default=_json_value) + "\n")
            return code
        first, *more = map(_line, error.lines)
        self._print(("Error  ", "bold red"), (first, ""), error=True)
        for one in more:
            self._print((f"  {one}", ""), error=True)
        if error.cause:
            self._print(("Why    ", "bold"), (_line(error.cause), ""), error=True)
        if error.next_step:
            self._print(("Next   ", "bold green"), (_line(error.next_step), ""), error=True)
        transaction = getattr(error, "transaction", None)
        if transaction and transaction not in error.message:
            self._print(("Sent   ", "bold"), (transaction, ""), error=True)
        return code

    def _write(self, text: str) -> None:
        try:
            sys.stdout.write(text + "\n")
            sys.stdout.flush()
        except BrokenPipeError:
            self._close()

    def _close(self) -> None:
        self._closed = True
        close_output()

    def _print(self, *parts: tuple[str, str], error: bool = False) -> None:
        """Print one line of texts, each with its style."""
        if not _is_plain(sys.stderr if error else sys.stdout):
            self._terminal.line(parts, error=error)
            return
        line = "".join(text for text, _ in parts)
        if not error:
            self._write(line)
            return
        try:
            sys.stderr.write(line + "\n")
            sys.stderr.flush()
        except BrokenPipeError:  # nobody reads failures any more
            close_output()
            raise SystemExit(1) from None


class Named(str):
    """An address with its name, if it has one."""

    name: str | None
    address: str

    def __new__(cls, name: str | None, address: str) -> Self:
        """The name, if there is one, and the address."""
        one = super().__new__(cls, f"{_line(name)} {address}" if name else address)
        one.name, one.address = name, address
        return one

    def __getnewargs__(self) -> tuple[str | None, str]:  # type: ignore[override]  # what __new__ takes, for copies
        return self.name, self.address


def _is_plain(stream: IO[str]) -> bool:
    """Whether the stream takes no colours and breaks no lines."""
    return not stream.isatty() and COLOURING.isdisjoint(os.environ)


def _line(text: str) -> str:
    return printable(text, most=None)


def _json_value(value: Any) -> Any:
    return "0x" + value.hex() if isinstance(value, bytes) else str(value)
