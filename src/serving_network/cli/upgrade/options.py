"""What the verbs of an upgrade share."""

from typing import Annotated

import typer

from serving_network.errors import InvalidInput

RENAME = Annotated[
    list[str] | None, typer.Option(help="OLD=NEW: a stored variable has only been renamed, and means the same.")
]
ARGUMENT = Annotated[
    list[str] | None,
    typer.Option(help="NAME=VALUE: build the implementation with another constructor argument (wei, seconds)."),
]


def pairs(given: list[str] | None, option: str) -> dict[str, str]:
    """The NAME=VALUE texts of a repeated option. Raises InvalidInput."""
    found = {}
    for one in given or []:
        name, sign, value = one.partition("=")
        if not (name and sign and value):
            raise InvalidInput(f"{one!r} is not of the form NAME=VALUE.", next_step=f"Write {option} NAME=VALUE.")
        found[name] = value
    return found
