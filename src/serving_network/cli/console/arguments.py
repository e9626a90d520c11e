# SPDX-License-Identifier: Apache-2.0
"""The arguments that many commands take."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from serving_network.cli.console.complete import complete_address, complete_service
from serving_network.errors import InvalidInput
from serving_network.money import parse_amount, parse_wei

AMOUNT_HELP = 'Exact: "1.5" or "1.5 coins", "250 gwei", "7 wei".'

AMOUNT = Annotated[int, typer.Argument(parser=parse_wei, metavar="AMOUNT", help=AMOUNT_HELP)]
AMOUNT_OR_ALL = Annotated[Any, typer.Argument(parser=parse_amount, metavar="AMOUNT", help=f'{AMOUNT_HELP} Or "all".')]
PROVIDER = Annotated[
    str, typer.Argument(help="An address, or a name in the address book.", autocompletion=complete_address)
]
USER = Annotated[
    str, typer.Argument(help="An address, or a name in the address book.", autocompletion=complete_address)
]
USER_OR_SELF = Annotated[
    str | None,
    typer.Argument(help="An address or a name. Default: the key in use.", autocompletion=complete_address),
]
INFERENCE_SERVICE = Annotated[
    str,
    typer.Option(
        "--service",
        "-s",
        help="A service by type (its recommended version) or by name.",
        autocompletion=complete_service,
    ),
]
FINE_TUNING_SERVICE = Annotated[
    str,
    typer.Option("--service", "-s", help="A fine-tuning service by type or by name.", autocompletion=complete_service),
]
DELIVERABLE_ID = Annotated[str, typer.Argument(metavar="ID", help="The deliverable's id.")]


def parse_data(text: str) -> bytes:
    """Bytes in hexadecimal, as in 0x6d6f. Raises InvalidInput."""
    try:
        if text.startswith("0x"):
            return bytes.fromhex(text.removeprefix("0x"))
    except ValueError:
        pass
    raise InvalidInput(
        f"{text!r} is not hexadecimal data.", next_step="Write 0x and an even number of hexadecimal digits."
    )
