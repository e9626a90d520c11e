# SPDX-License-Identifier: Apache-2.0
"""`serving key`: keys, in encrypted files."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from serving_network.cli.console.complete import complete_key
from serving_network.cli.console.home import Home
from serving_network.cli.console.options import JSON, YES
from serving_network.cli.console.output import Output
from serving_network.cli.console.overriding import note_key_variables
from serving_network.cli.console.prompts import ask_new_password, ask_secret, ask_to_remove, open_with_password
from serving_network.errors import InvalidInput, KeyFailure
from serving_network.files import unreadable
from serving_network.untrusted import parse_json

if TYPE_CHECKING:
    from serving_network.wallet.keys import StoredKey
    from serving_network.wallet.local import LocalSigner

app = typer.Typer(help="Manage the keys on this machine, in encrypted files.")

NAME = Annotated[str, typer.Argument(metavar="NAME", help="The key's name.", autocompletion=complete_key)]
NEW_NAME = Annotated[str, typer.Argument(metavar="NAME", help="A name for the key.")]


@app.command()
def new(name: NEW_NAME, as_json: JSON = False) -> None:
    """Make a new key and store it in an encrypted file. If no key is in use, this one will be.

    Example: serving key new main
    """
    files = Home.open()
    files.check_free(name)
    key = files.keys.create(name, ask_new_password())
    _added(files, key, as_json)
    Output(as_json).note(f"Back up {key.path}: without this file and its password, the key's coins are lost.")


@app.command("import")
def import_key(
    name: NEW_NAME,
    keystore: Annotated[
        Path | None, typer.Option(help="An encrypted keystore file of another wallet. Its password stays the same.")
    ] = None,
    as_json: JSON = False,
) -> None:
    """Import a key from a prompt, from standard input, or from a keystore file.

    Example: serving key import main --keystore ./UTC--2026-11-22--f39f
    """
    files = Home.open()
    files.check_free(name)
    if keystore is not None:
        signer, password, encrypted = _from_keystore(keystore)
        key = files.keys.add(name, signer, password, encrypted)
    else:
        key = files.keys.add(name, _from_terminal_or_input(), ask_new_password())
    _added(files, key, as_json)


@app.command("list")
def list_keys(as_json: JSON = False) -> None:
    """List the keys. Needs no password.

    Example: serving key list
    """
    files = Home.open()
    keys = files.keys.list()
    out = Output(as_json)
    out.result([{"name": one.name, "address": one.address, "in_use": one.name == files.key_in_use} for one in keys])
    out.table(
        ("name", "address", "in use"),
        [(one.name, one.address, "yes" if one.name == files.key_in_use else "") for one in keys],
        empty="There are no keys yet. Make one: serving key new NAME",
    )
    note_key_variables(out, files.key_in_use)
    for failure in files.keys.unreadable():
        out.note(f"{failure} {failure.next_step}", "yellow")


@app.command("show-address")
def show_address(
    name: Annotated[
        str | None,
        typer.Argument(metavar="NAME", help="The key's name. Default: the key in use.", autocompletion=complete_key),
    ] = None,
    as_json: JSON = False,
) -> None:
    """Print a key's address, and nothing else.

    Example: serving key show-address main
    """
    files = Home.open()
    chosen = name or files.key_in_use
    if chosen is None:
        raise KeyFailure("No key is in use.", next_step="serving key use NAME")
    key = files.keys.find(chosen)
    out = Output(as_json)
    out.result({"name": key.name, "address": key.address})
    out.line(key.address)


@app.command()
def use(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="The key's name.", autocompletion=complete_key)
    ] = None,
    none: Annotated[bool, typer.Option("--none", help="Use no key. No key is removed.")] = False,
    as_json: JSON = False,
) -> None:
    """Use this key from now on. It stays locked: you are asked for its password when something is signed.

    Example: serving key use main
    """
    if (name is None) != none:
        raise InvalidInput("Exactly one of NAME and --none is required.", next_step="Name a key, or pass --none.")
    files = Home.open()
    files.use_key(name)
    out = Output(as_json)
    if name is None:
        out.result({"name": None})
        out.line("No key is in use.")
        note_key_variables(out, None)
        return
    key = files.keys.find(name)
    out.result({"name": key.name, "address": key.address})
    out.line(f"In use: {key.name}  {key.address}")
    note_key_variables(out, key.name)


@app.command()
def remove(name: NAME, yes: YES = False, as_json: JSON = False) -> None:
    """Delete a key's file. Without a backup of it, the coins of its address are lost.

    Example: serving key remove old
    """
    files = Home.open()
    key = files.keys.find(name)
    ask_to_remove(f"This deletes the key of {key.address}. Without a backup of {key.path}, its coins are lost.", yes)
    files.keys.remove(name)
    if files.key_in_use == name:
        files.use_key(None)
    out = Output(as_json)
    out.result({"removed": key.name, "address": key.address})
    out.line(f"Removed {key.name}  {key.address}")


def _added(files: Home, key: StoredKey, as_json: bool) -> None:
    if files.key_in_use is None:
        files.use_key(key.name)
    out = Output(as_json)
    out.result({"name": key.name, "address": key.address, "file": str(key.path)})
    out.line(f"{key.name}  {key.address}")
    note_key_variables(out, files.key_in_use)


def _from_terminal_or_input() -> LocalSigner:
    from serving_network.wallet.keys import key_from_stream
    from serving_network.wallet.local import LocalSigner

    if sys.stdin.isatty():
        return LocalSigner(ask_secret("Private key (not shown): ").strip())
    return key_from_stream(sys.stdin)


def _from_keystore(path: Path) -> tuple[LocalSigner, str, dict[str, Any]]:
    from serving_network.wallet.keys import decrypt

    try:
        content = parse_json(path.read_bytes())
    except (OSError, ValueError) as error:
        raise unreadable(InvalidInput, path, error, "a keystore file") from error

    def opens(password: str) -> tuple[LocalSigner, str, dict[str, Any]]:
        return decrypt(content, password, str(path)), password, content

    return open_with_password(f"Password of {path.name}: ", str(path), opens)
