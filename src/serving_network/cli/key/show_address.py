"""`serving key show-address`"""

from __future__ import annotations

from typing import Annotated

import typer

from serving_network.cli.complete import complete_key
from serving_network.cli.local import JSON, configuration
from serving_network.cli.output import Output
from serving_network.errors import KeyFailure


def show_address(
    name: Annotated[str | None, typer.Argument(help="The key in use by default.", autocompletion=complete_key)] = None,
    as_json: JSON = False,
) -> None:
    """Print a key's address, and nothing else.

    Example: serving key show-address main
    """
    settings = configuration()
    chosen = name or settings.key_in_use
    if chosen is None:
        raise KeyFailure("No key is in use.", next_step="serving key new NAME")
    key = settings.keys.find(chosen)
    out = Output(as_json)
    out.result({"name": key.name, "address": key.address})
    out.line(key.address)
