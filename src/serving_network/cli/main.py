"""The program `serving`: every verb and where it is. A new verb is one line here and one file."""

from collections.abc import Mapping
from typing import Annotated, ClassVar

import typer

from serving_network.__about__ import __version__
from serving_network.cli.tree import Noun, Root, Verb

CLI = "serving_network.cli"


class Serving(Root):
    """The verbs of this program."""

    members: ClassVar[Mapping[str, Verb | Noun]] = {
        "up": Verb(f"{CLI}.up:up", "Start a local network on this machine."),
        "artifacts": Verb(f"{CLI}.artifacts:artifacts", "Write the compiled contracts for other toolchains."),
    }


app = typer.Typer(
    cls=Serving,
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,  # a local variable may be a key
    help="Use, provide and run a serving network: pay for AI services, and be paid for them.",
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def serving(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    """Use, provide and run a serving network: pay for AI services, and be paid for them."""
