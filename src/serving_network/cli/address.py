# SPDX-License-Identifier: Apache-2.0
"""`serving address`: the address book."""

from __future__ import annotations

from typing import Annotated

import typer

from serving_network.cli.console.complete import complete_address
from serving_network.cli.console.home import Home
from serving_network.cli.console.options import JSON, YES
from serving_network.cli.console.output import Output
from serving_network.cli.console.prompts import ask_to_go_on, ask_to_remove
from serving_network.networks import parse_address

app = typer.Typer(help="Manage the address book: names that you can use in place of addresses.")


@app.command()
def add(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A name for the address.")],
    address: Annotated[str, typer.Argument(metavar="ADDRESS", help="The address.")],
    yes: YES = False,
    as_json: JSON = False,
) -> None:
    """Give an address a name, which you can use in every command. Asks before a name gets another address.

    Example: serving address add good-provider 0x70997970C51812dc3A010C7d01b50e0d17dc79C8
    """
    found, files = parse_address(address), Home.open()
    old = files.addresses().get(name, found)
    if old != found and not yes:
        typer.echo(f"{name}: {old} -> {found}", err=True)
        ask_to_go_on(what="written")
    files.save_address(name, found)
    out = Output(as_json)
    out.result({"name": name, "address": found})
    out.line(f"{name}  {found}")


@app.command("list")
def list_addresses(as_json: JSON = False) -> None:
    """List the names in the address book.

    Example: serving address list
    """
    files = Home.open()
    book, out = files.addresses(), Output(as_json)
    out.result(book)
    out.table(
        ("name", "address"),
        list(book.items()),
        empty="The address book is empty. Add a name: serving address add NAME 0x...",
    )
    for key in files.keys.list():
        if book.get(key.name, key.address) != key.address:
            out.note(
                f"Note: {key.name} is also the name of a key, {key.address}. As an argument it stands for the address"
                f" in the list. To end this: serving address remove {key.name}",
                "yellow",
            )


@app.command()
def remove(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="A name in the address book.", autocompletion=complete_address)
    ],
    yes: YES = False,
    as_json: JSON = False,
) -> None:
    """Remove a name from the address book.

    Example: serving address remove good-provider
    """
    ask_to_remove(f"This removes the name {name!r}.", yes)
    Home.open().remove_address(name)
    out = Output(as_json)
    out.result({"removed": name})
    out.line(f"Removed {name}.")
