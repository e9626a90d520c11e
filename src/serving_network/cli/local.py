"""Verbs that touch only this machine: keys, networks, the address book."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from serving_network.cli.complete import complete_key
from serving_network.cli.context import ask_to_go_on, interruptible
from serving_network.cli.home import Home
from serving_network.errors import InvalidInput, KeyLocked
from serving_network.networks import home

JSON = Annotated[bool, typer.Option("--json", help="Print JSON.")]
YES = Annotated[bool, typer.Option("--yes", "-y", help="Do it without asking.")]
NAME_OF_KEY = Annotated[str, typer.Argument(metavar="NAME", help="The key's name.", autocompletion=complete_key)]

SHORTEST_PASSWORD = 8


def configuration() -> Home:
    """This person's configuration and keys."""
    return Home(home())


def new_password() -> str:
    """A password for a new key: from SERVING_PASSWORD, or asked twice. Raises KeyLocked and InvalidInput."""
    import getpass

    from serving_network.wallet.keys import PASSWORD_VARIABLE, password_from_environment

    password = password_from_environment()
    if password is None:
        if not sys.stdin.isatty():
            raise KeyLocked(
                "A new key needs a password, and there is no terminal to ask for it.",
                next_step=f"Set {PASSWORD_VARIABLE}, or run the command in a terminal.",
            )
        with interruptible():
            password = getpass.getpass("New password: ")
            if password != getpass.getpass("Once more: "):
                raise InvalidInput("The two passwords differ.", next_step="Try again.")
    if len(password) < SHORTEST_PASSWORD:
        raise InvalidInput(f"The password is shorter than {SHORTEST_PASSWORD} characters.", next_step="Try again.")
    return password


def confirm(what: str, yes: bool) -> None:
    """Ask before something is lost. Raises Declined."""
    if not yes:
        typer.echo(what, err=True)
        ask_to_go_on()
