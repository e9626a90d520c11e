# SPDX-License-Identifier: Apache-2.0
"""The options that many commands share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Final

import typer

from serving_network.cli.console.complete import complete_key, complete_network
from serving_network.money import parse_wei

NETWORK_VARIABLE: Final = "SERVING_NETWORK"
KEY_NAME_VARIABLE: Final = "SERVING_KEY"

NETWORK = Annotated[
    str | None,
    typer.Option("--network", "-n", help="Use this network.", envvar=NETWORK_VARIABLE, autocompletion=complete_network),
]
KEY = Annotated[
    str | None,
    typer.Option(
        "--key",
        "-k",
        help='Use this key; "ledger:0" is the first account of a Ledger device.',
        envvar=KEY_NAME_VARIABLE,
        autocompletion=complete_key,
    ),
]
KEY_FROM_INPUT = Annotated[bool, typer.Option("--key-stdin", help="Read a private key from standard input.")]
JSON = Annotated[bool, typer.Option("--json", help="Print JSON.")]
WIDE = Annotated[bool, typer.Option("--wide", help="Show whole addresses in tables.")]
YES = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")]
DRY_RUN = Annotated[bool, typer.Option("--dry-run", help="Show the call, its effect and its gas. Send nothing.")]
DRY_RUN_RECORD = Annotated[bool, typer.Option("--dry-run", help="Show what would be written. Write nothing.")]
MAX_FEE = Annotated[
    int | None,
    typer.Option("--max-fee", parser=parse_wei, metavar="AMOUNT", help="Maximum fee per gas, such as '5 gwei'."),
]
TIP = Annotated[
    int | None,
    typer.Option("--tip", parser=parse_wei, metavar="AMOUNT", help="Priority fee per gas, for the block proposer."),
]
LEGACY = Annotated[bool, typer.Option("--legacy", help="Send a legacy transaction, with one gas price.")]
STUCK_AFTER = Annotated[
    float, typer.Option(help="Seconds after which a pending transaction is replaced with a higher fee.")
]


@dataclass(frozen=True)
class Sending:
    """How transactions are sent. Fees are in wei per gas; None means what the node suggests."""

    yes: bool = False
    dry_run: bool = False
    max_fee: int | None = None
    tip: int | None = None
    legacy: bool = False
