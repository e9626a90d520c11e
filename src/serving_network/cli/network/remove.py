"""`serving network remove`"""

from __future__ import annotations

from typing import Annotated

import typer

from serving_network.cli.complete import complete_network
from serving_network.cli.local import JSON, YES, configuration, confirm
from serving_network.cli.output import Output


def remove(
    name: Annotated[str, typer.Argument(help="The network's name.", autocompletion=complete_network)],
    yes: YES = False,
    as_json: JSON = False,
) -> None:
    """Forget a network of your own; a built-in one is as it was again.

    Example: serving network remove mine
    """
    confirm(f"This forgets the network {name!r}.", yes)
    configuration().remove_network(name)
    out = Output(as_json)
    out.result({"removed": name})
    out.line(f"Removed {name}.")
