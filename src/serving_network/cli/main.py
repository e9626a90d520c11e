# SPDX-License-Identifier: Apache-2.0
"""The program `serving`: its commands by role. A command is one module of this package, and one line here."""

from collections.abc import Mapping
from typing import Annotated, ClassVar

import typer

from serving_network.__about__ import __version__
from serving_network.cli.console.program import Program


class Serving(Program):
    """The commands of this program, in the columns and under the roles in which its help lists them."""

    package = "serving_network.cli"
    renamed: ClassVar[Mapping[str, str]] = {
        "handover": "serving ownership -h",
        "key forget": "serving key use --none",
        "registry migration": "serving migrate plan -h",
        "version": "serving registry -h",
        "watch": "serving account watch -h",
    }
    columns: ClassVar[tuple[Mapping[str, Mapping[str, str]], ...]] = (
        {
            "Everyone": {
                "doctor": "Diagnose payments",
                "explore": "Show network in browser",
                "service": "Find and offer services",
                "events": "List network events",
                "transaction": "Look up a transaction",
            },
            "Users": {
                "ledger": "Deposit, fund, withdraw",
                "account": "Show balances, refunds",
                "token": "Make and revoke API keys",
                "chat": "Chat with a model",
                "connect": "Open a local OpenAI API",
                "bill": "Show and verify bills",
            },
            "Providers": {
                "gateway": "Sell inference over HTTP",
                "settle": "Settle a usage log",
                "settlement": "Manage settlements",
                "earnings": "List payments received",
                "deliverable": "Deliver fine-tuned models",
            },
        },
        {
            "This machine": {
                "status": "Show network and key",
                "up": "Start a local network",
                "local": "Get coins, move time",
                "demo": "Run the example network",
                "key": "Manage keys",
                "network": "Manage networks",
                "address": "Manage the address book",
                "completion": "Print shell completion",
            },
            "Owner and operators": {
                "signer": "Review TEE signers",
                "setting": "Change lock time, penalty",
                "registry": "Manage service versions",
                "ownership": "Transfer ownership",
                "deploy": "Deploy the contracts",
                "upgrade": "Upgrade the contracts",
                "verify": "Verify deployed code",
                "migrate": "Plan and check migrations",
                "health": "Check network health",
                "index": "Index network events",
                "artifacts": "Export the contracts",
            },
        },
    )


app = typer.Typer(
    cls=Serving,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_show_locals=False,  # a local variable may be a key
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
