"""`serving address add`"""

from __future__ import annotations

from typing import Annotated

import typer

from serving_network.cli.local import JSON, configuration
from serving_network.cli.output import Output
from serving_network.networks import parse_address


def add(
    name: Annotated[str, typer.Argument(help="A name.")],
    address: Annotated[str, typer.Argument(help="The address that it stands for.")],
    as_json: JSON = False,
) -> None:
    """Give an address a name, which then stands for it in every command.

    Example: serving address add good-provider 0x70997970C51812dc3A010C7d01b50e0d17dc79C8
    """
    found = parse_address(address)
    configuration().save_address(name, found)
    out = Output(as_json)
    out.result({"name": name, "address": found})
    out.line(f"{name}  {found}")
