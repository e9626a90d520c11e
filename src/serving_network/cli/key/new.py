"""`serving key new`"""

from __future__ import annotations

from typing import Annotated

import typer

from serving_network.cli.local import JSON, configuration, new_password
from serving_network.cli.output import Output


def new(
    name: Annotated[str, typer.Argument(help="A name for the key.")],
    as_json: JSON = False,
) -> None:
    """Make a new key and keep it in an encrypted file. The first key becomes the one in use.

    Example: serving key new main
    """
    settings = configuration()
    key = settings.keys.create(name, new_password())
    if settings.key_in_use is None:
        settings.use_key(name)
    out = Output(as_json)
    out.result({"name": key.name, "address": key.address, "file": str(key.path)})
    out.line(f"{key.name}  {key.address}")
    out.note(f"Kept in {key.path}. Make a copy of this file: without it and its password the coins are lost.")
