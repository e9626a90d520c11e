# SPDX-License-Identifier: Apache-2.0
"""Questions to the person at the terminal."""

from __future__ import annotations

import os
import select
import signal
import sys
import termios
import threading
from typing import TYPE_CHECKING, Final, TypeVar

import typer

from serving_network.cli.console.output import EXIT_DECLINED
from serving_network.errors import InvalidInput, KeyLocked, ServingError, WrongPassword

if TYPE_CHECKING:
    from collections.abc import Callable

Opened = TypeVar("Opened")

SHORTEST_PASSWORD = 8
ATTEMPTS: Final = 3
_LOCAL_MODES: Final = 3
"""The place of the local modes, with ECHO among them, in what termios returns."""


class Declined(ServingError):
    """The person answered no."""

    exit_code = EXIT_DECLINED


class NobodyToAsk(InvalidInput):
    """A confirmation is needed, and there is no terminal to ask on."""


def ask_to_go_on(question: str = "Continue?", what: str = "sent", *, default: bool = True) -> None:
    """Ask whether to continue. `what` says what would happen: "sent", "written" or "removed".
    `default` is the answer of an empty line: no for what cannot be undone.

    Raises Declined if the answer is no, and NobodyToAsk where there is no terminal.
    """
    if not sys.stdin.isatty():
        raise NobodyToAsk(
            f"Nothing was {what}: there is no terminal to ask for confirmation.",
            next_step="Pass --yes to confirm."
            if what == "removed"
            else "Pass --yes to confirm, or --dry-run to preview.",
        )
    answers = {"": default, "y": True, "yes": True, "n": False, "no": False}
    while (answer := ask(f"{question} [{'Y/n' if default else 'y/N'}]: ").strip().lower()) not in answers:
        typer.echo("Answer y or n.", err=True)
    if not answers[answer]:
        raise Declined(f"Nothing was {what}.")


def ask_to_remove(warning: str, yes: bool) -> None:
    """Print the warning and ask whether to continue, unless --yes was given. Raises as `ask_to_go_on`."""
    if not yes:
        typer.echo(warning, err=True)
        ask_to_go_on(what="removed", default=False)


def open_with_password(prompt: str, locked: str, opens: Callable[[str], Opened]) -> Opened:
    """What `opens` returns for the password of `locked`, which is read from the environment or the terminal.

    A wrong password is asked for again on a terminal. Raises WrongPassword, and KeyLocked if there is none to ask on.
    """
    from serving_network.wallet.keys import PASSWORD_VARIABLE, no_password, password_from_environment

    known = password_from_environment()
    if known is not None:
        try:
            return opens(known)
        except WrongPassword as wrong:
            wrong.next_step = f"Correct the password in the variable {PASSWORD_VARIABLE}."
            raise
    if not sys.stdin.isatty():
        raise no_password(locked)
    for _ in range(ATTEMPTS - 1):
        try:
            return opens(ask_secret(prompt))
        except WrongPassword as wrong:
            typer.echo(f"{wrong} Try again.", err=True)
    return opens(ask_secret(prompt))


def ask_new_password() -> str:
    """A password for a new key: from SERVING_PASSWORD, or asked for twice. Raises KeyLocked and InvalidInput.

    On a terminal, a password that is too short or mistyped is asked for again.
    """
    from serving_network.wallet.keys import PASSWORD_VARIABLE, password_from_environment

    known = password_from_environment()
    if known is not None:
        return _long_enough(known)
    if not sys.stdin.isatty():
        raise KeyLocked(
            "A new key needs a password, and there is no terminal to ask on.",
            next_step=f"Set {PASSWORD_VARIABLE}, or run the command in a terminal.",
        )
    for _ in range(ATTEMPTS - 1):
        try:
            return _new_password()
        except InvalidInput as wrong:
            typer.echo(f"{wrong} Try again.", err=True)
    return _new_password()


def _new_password() -> str:
    password = _long_enough(ask_secret("New password: "))
    if password != ask_secret("Repeat the password: "):
        raise InvalidInput("The two passwords differ.", next_step="Run the command again.")
    return password


def _long_enough(password: str) -> str:
    if len(password) < SHORTEST_PASSWORD:
        raise InvalidInput(
            f"The password is shorter than {SHORTEST_PASSWORD} characters.", next_step="Choose a longer one."
        )
    return password


def ask_secret(prompt: str) -> str:
    """Text that is typed on the terminal and not shown."""
    terminal = sys.stdin.fileno()
    shown = termios.tcgetattr(terminal)
    hidden = shown.copy()
    hidden[_LOCAL_MODES] &= ~termios.ECHO
    try:
        termios.tcsetattr(terminal, termios.TCSAFLUSH, hidden)
        typed = ask(prompt)
    finally:
        termios.tcsetattr(terminal, termios.TCSADRAIN, shown)
    typer.echo(err=True)
    return typed.removesuffix("\n")


def ask(prompt: str) -> str:
    """A line typed on the terminal. Raises KeyboardInterrupt on Ctrl-C, and at the end of input."""
    line = ask_line(prompt)
    if line is None:
        raise KeyboardInterrupt
    return line


def ask_line(prompt: str) -> str | None:
    """A line typed on the terminal; None at the end of input. Raises KeyboardInterrupt on Ctrl-C.

    What is printed next starts a new line, however this one ended.
    """
    try:
        line = _read_line(prompt)
    except KeyboardInterrupt:
        typer.echo(err=True)
        raise
    if line is None:
        typer.echo(err=True)
    return line


def _read_line(prompt: str) -> str | None:
    """As `ask_line`.

    `input` can lose a Ctrl-C that arrives just before it blocks, and the event loop's own handler would wait for the
    answer. Here the signal ends the wait, whenever it arrives. Signals arrive in the main thread only.
    """
    if threading.current_thread() is not threading.main_thread():
        typer.echo(prompt, nl=False, err=True)
        return sys.stdin.readline() or None
    receiving, sending = os.pipe()
    os.set_blocking(sending, False)
    interrupts = _Interrupts()
    handler = signal.signal(signal.SIGINT, interrupts)
    wakeup = signal.set_wakeup_fd(sending, warn_on_full_buffer=False)
    try:
        try:
            interrupts.let_through()
            typer.echo(prompt, nl=False, err=True)
            select.select([sys.stdin, receiving], [], [])
            return sys.stdin.readline() or None
        finally:
            interrupts.held = True
    finally:
        interrupts.held = True  # a signal can end the inner block before its last line
        signal.set_wakeup_fd(wakeup)
        signal.signal(signal.SIGINT, handler)
        os.close(receiving)
        os.close(sending)
        interrupts.raise_if_any()


class _Interrupts:
    """A handler of SIGINT. While it is `held`, nothing is raised, and nothing is left half set up or undone."""

    def __init__(self) -> None:
        self.held = True
        self._arrived = False

    def __call__(self, *_: object) -> None:
        self._arrived = True
        if not self.held:
            self.raise_if_any()

    def let_through(self) -> None:
        """Raise KeyboardInterrupt for a signal from now on, or if one has arrived."""
        self.held = False
        self.raise_if_any()

    def raise_if_any(self) -> None:
        """Raise KeyboardInterrupt if a signal has arrived that was not raised."""
        if self._arrived:
            self._arrived = False
            raise KeyboardInterrupt
