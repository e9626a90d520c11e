# SPDX-License-Identifier: Apache-2.0
"""The program `serving`: its nouns and verbs by role. A noun is one file with a Typer app, and one line here."""

from collections.abc import Mapping
from shutil import get_terminal_size
from typing import Annotated, Any, ClassVar

import typer

from serving_network.__about__ import __version__
from serving_network.cli.overview import overview
from serving_network.cli.tree import Noun, Root, Verb

CLI = "serving_network.cli"


def _noun(name: str, help: str) -> Verb:  # noqa: A002 - as Typer calls it
    return Verb(f"{CLI}.{name}:app", help)


def _verb(name: str, help: str) -> Verb:  # noqa: A002 - as Typer calls it
    return Verb(f"{CLI}.{name}:{name}", help)


class Serving(Root):
    """The commands of this program, in the columns and roles in which its help lists them."""

    columns: ClassVar[tuple[Mapping[str, Mapping[str, Verb | Noun]], ...]] = (
        {
            "Everyone": {
                "status": _verb("status", "Show network and key"),
                "doctor": _verb("doctor", "Diagnose payments"),
                "service": _noun("service", "Find and offer services"),
                "events": _verb("events", "List network events"),
                "transaction": _noun("transaction", "Look up a transaction"),
            },
            "Users": {
                "ledger": _noun("ledger", "Deposit, fund, withdraw"),
                "account": _noun("account", "Show balances, refunds"),
                "token": _noun("token", "Make and revoke API keys"),
            },
            "This machine": {
                "up": _verb("up", "Start a local network"),
                "demo": _verb("demo", "Run the example network"),
                "key": _noun("key", "Manage keys"),
                "network": _noun("network", "Manage networks"),
                "address": _noun("address", "Manage the address book"),
                "artifacts": _verb("artifacts", "Export the contracts"),
                "completion": _verb("completion", "Print shell completion"),
            },
        },
        {
            "Providers": {
                "settle": _verb("settle", "Settle a usage log"),
                "settlement": _noun("settlement", "Manage settlements"),
                "earnings": _verb("earnings", "List payments received"),
                "deliverable": _noun("deliverable", "Deliver fine-tuned models"),
            },
            "Owner and operators": {
                "signer": _noun("signer", "Confirm TEE signers"),
                "setting": _noun("setting", "Change lock time, penalty"),
                "registry": _noun("registry", "Manage service versions"),
                "ownership": _noun("ownership", "Transfer ownership"),
                "deploy": _noun("deploy", "Deploy the contracts"),
                "upgrade": _noun("upgrade", "Upgrade the contracts"),
                "verify": _noun("verify", "Verify deployed code"),
                "migrate": _noun("migrate", "Plan and check migrations"),
                "health": _verb("health", "Check network health"),
            },
        },
    )
    members: ClassVar[Mapping[str, Verb | Noun]] = {
        name: member for column in columns for commands in column.values() for name, member in commands.items()
    }

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """All commands by role, on one screen."""
        listed = tuple(
            {role: {name: one.help for name, one in commands.items()} for role, commands in column.items()}
            for column in self.columns
        )
        options = "   ".join(", ".join(one.opts) for one in self.get_params(ctx))
        name = ctx.command_path
        formatter.write(f"Usage: {name} COMMAND ...   For help on a command: {name} COMMAND -h\n\n")
        formatter.write(f"{overview(listed, get_terminal_size().columns)}\n\nOptions: {options}")


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
