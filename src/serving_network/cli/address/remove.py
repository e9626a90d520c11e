"""`serving address remove`"""

from __future__ import annotations

from typing import Annotated

import typer

from serving_network.cli.complete import complete_address
from serving_network.cli.local import JSON, YES, configuration, confirm
from serving_network.cli.output import Output


def remove(
    name: Annotated[str, typer.Argument(help="A name in the address book.", autocompletion=complete_address)],
    yes: YES = False,
    as_json: JSON = False,
) -> None:
    """Take a name out of the address book.

    Example: serving address remove good-provider
    """
    confirm(f"This forgets the name {name!r}.", yes)
    configuration().remove_address(name)
    out = Output(as_json)
    out.result({"removed": name})
    out.line(f"Removed {name}.")
