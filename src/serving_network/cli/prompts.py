"""Questions to the person at the terminal."""

from __future__ import annotations

import getpass
import signal
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer

from serving_network.errors import InvalidInput, KeyLocked

if TYPE_CHECKING:
    from collections.abc import Iterator

SHORTEST_PASSWORD = 8


class Declined(InvalidInput):
    """The person answered no, or there is no terminal to ask on."""


def ask_to_go_on(question: str = "Continue?", what: str = "sent") -> None:
    """Ask whether to continue. `what` says what would happen: "sent", "written" or "removed".

    Raises Declined if the answer is no, and where there is no terminal.
    """
    if not sys.stdin.isatty():
        raise Declined(
            f"Nothing was {what}: there is no terminal to ask for confirmation.",
            next_step="Pass --yes to confirm."
            if what == "removed"
            else "Pass --yes to confirm, or --dry-run to preview.",
        )
    with interruptible():
        try:
            agreed = typer.confirm(question, default=True, err=True)
        except typer.Abort:
            raise KeyboardInterrupt from None
    if not agreed:
        raise Declined(f"Nothing was {what}.")


def ask_to_remove(warning: str, yes: bool) -> None:
    """Print the warning and ask whether to continue, unless --yes was given. Raises Declined."""
    if not yes:
        typer.echo(warning, err=True)
        ask_to_go_on(what="removed")


def ask_password(prompt: str) -> str | None:
    """The password from the environment or the terminal; None where there is neither."""
    from serving_network.wallet.keys import password_from_environment

    known = password_from_environment()
    if known is not None or not sys.stdin.isatty():
        return known
    return ask_secret(prompt)


def ask_new_password() -> str:
    """A password for a new key: from SERVING_PASSWORD, or asked for twice. Raises KeyLocked and InvalidInput."""
    from serving_network.wallet.keys import PASSWORD_VARIABLE, password_from_environment

    password = password_from_environment()
    if password is None:
        if not sys.stdin.isatty():
            raise KeyLocked(
                "A new key needs a password, and there is no terminal to ask on.",
                next_step=f"Set {PASSWORD_VARIABLE}, or run the command in a terminal.",
            )
        password = ask_secret("New password: ")
        if password != ask_secret("Repeat the password: "):
            raise InvalidInput("The two passwords differ.", next_step="Try again.")
    if len(password) < SHORTEST_PASSWORD:
        raise InvalidInput(f"The password is shorter than {SHORTEST_PASSWORD} characters.", next_step="Try again.")
    return password


def ask_secret(prompt: str) -> str:
    """Text that is typed on the terminal and not shown."""
    with interruptible():
        return getpass.getpass(prompt)


@contextmanager
def interruptible() -> Iterator[None]:
    """Let Ctrl-C end a prompt at once: the event loop's own handler would wait for the answer first."""
    former = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, former)
