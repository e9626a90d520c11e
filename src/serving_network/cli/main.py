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
                "settle": Verb(f"{CLI}.settle:settle", "Settle a usage log"),
                "settlement": Noun(
                    {
                        "list": Verb(
                            f"{CLI}.settlement.list:list_settlements", "List batches, what waits, and void requests."
                        ),
                        "cancel": Verb(f"{CLI}.settlement.cancel:cancel", "End settlements whose transactions wait."),
                        "adopt": Verb(
                            f"{CLI}.settlement.adopt:adopt", "Book settlements that the journal does not know."
                        ),
                        "backup": Verb(f"{CLI}.settlement.backup:backup", "Copy the journal."),
                        "void": Verb(f"{CLI}.settlement.void:void", "Take a request out, so that it is not charged."),
                        "books": Verb(f"{CLI}.settlement.books:books", "Compare what contracts hold and owe."),
                        "preview": Verb(f"{CLI}.settlement.preview:preview", "Show what settling would do."),
                        "send": Verb(f"{CLI}.settlement.send:send", "Settle what a TEE has signed."),
                    },
                    "Manage settlements",
                ),
                "earnings": _verb("earnings", "List payments received"),
                "deliverable": _noun("deliverable", "Deliver fine-tuned models"),
            },
            "Owner and operators": {
                "signer": _noun("signer", "Confirm TEE signers"),
                "setting": _noun("setting", "Change lock time, penalty"),
                "registry": Noun(
                    {
                        "list": Verb(f"{CLI}.registry.list:list_registered", "List services, and what is in them."),
                        "recommend": Verb(f"{CLI}.registry.recommend:recommend", "Recommend a version."),
                        "migration": Verb(f"{CLI}.registry.migration:migration", "Plan the move to the next version."),
                    },
                    "Manage service versions",
                ),
                "version": Noun(
                    {
                        "list": Verb(f"{CLI}.version.list:list_versions", "List services and versions."),
                        "register": Verb(f"{CLI}.version.register:register", "Make a service known."),
                        "recommend": Verb(f"{CLI}.version.recommend:recommend", "Recommend a version."),
                    },
                    "Manage service versions",
                ),
                "ownership": Noun(
                    {
                        "offer": Verb(f"{CLI}.ownership.offer:offer", "Offer it; the other side must accept."),
                        "accept": Verb(f"{CLI}.ownership.accept:accept", "Accept an offer."),
                        "transfer": Verb(f"{CLI}.ownership.transfer:transfer", "Give it away at once."),
                        "renounce": Verb(f"{CLI}.ownership.renounce:renounce", "Leave a contract without an owner."),
                    },
                    "Transfer ownership",
                ),
                "handover": Noun(
                    {
                        "show": Verb(f"{CLI}.handover.show:show", "Show who owns what."),
                        "rehearse": Verb(
                            f"{CLI}.handover.rehearse:rehearse", "Show what the old owner can no longer do."
                        ),
                        "apply": Verb(f"{CLI}.handover.apply:apply", "Offer or give ownership."),
                        "accept": Verb(f"{CLI}.handover.accept:accept", "Take over what is offered."),
                    },
                    "Hand over ownership",
                ),
                "deploy": Noun(
                    {
                        "plan": Verb(f"{CLI}.deploy.plan:plan", "Show what would be deployed, and for how much."),
                        "apply": Verb(f"{CLI}.deploy.apply:apply", "Deploy what is missing."),
                        "check": Verb(f"{CLI}.deploy.check:check", "Compare the record with the chain."),
                        "show": Verb(f"{CLI}.deploy.show:show", "Show the record."),
                    },
                    "Deploy the contracts",
                ),
                "upgrade": Noun(
                    {
                        "plan": Verb(f"{CLI}.upgrade.plan:plan", "Compare layouts and rehearse."),
                        "apply": Verb(f"{CLI}.upgrade.apply:apply", "Replace an implementation."),
                        "rollback": Verb(f"{CLI}.upgrade.rollback:rollback", "Put the former one back."),
                        "status": Verb(
                            f"{CLI}.upgrade.status:status", "Tell whether others followed their instructions."
                        ),
                    },
                    "Upgrade the contracts",
                ),
                "verify": Noun(
                    {
                        "local": Verb(f"{CLI}.verify.local:local", "Recompile and compare with the chain."),
                        "input": Verb(f"{CLI}.verify.input:write_input", "Write the standard JSON input."),
                        "sourcify": Verb(f"{CLI}.verify.sourcify:sourcify", "Have Sourcify verify a contract."),
                        "blockscout": Verb(
                            f"{CLI}.verify.blockscout:blockscout", "Have an explorer verify a contract."
                        ),
                    },
                    "Verify deployed code",
                ),
                "migrate": Noun(
                    {
                        "check": Verb(f"{CLI}.migrate.check:check", "A checklist against the chain's state."),
                    },
                    "Check a migration",
                ),
                "health": Verb(f"{CLI}.health:health", "Check network health"),
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
