"""The program `serving`: every verb and where it is. A new verb is one line here and one file."""

from collections.abc import Mapping
from typing import Annotated, ClassVar

import typer

from serving_network.__about__ import __version__
from serving_network.cli.tree import Noun, Root, Verb

CLI = "serving_network.cli"


class Serving(Root):
    """The verbs of this program."""

    members: ClassVar[Mapping[str, Verb | Noun]] = {
        "up": Verb(f"{CLI}.up:up", "Start a local network on this machine."),
        "demo": Verb(f"{CLI}.demo:demo", "Watch a provider's day become payments, on a private network."),
        "status": Verb(f"{CLI}.status:status", "Show the network and key in use, and whether the node answers."),
        "doctor": Verb(
            f"{CLI}.doctor:doctor", "Walk through all that stands between a user, a provider and a payment."
        ),
        "ledger": Noun(
            {
                "open": Verb(f"{CLI}.ledger.open:open_ledger", "Open a ledger."),
                "show": Verb(f"{CLI}.ledger.show:show", "Show one ledger."),
                "list": Verb(f"{CLI}.ledger.list:list_ledgers", "List all ledgers."),
                "deposit": Verb(f"{CLI}.ledger.deposit:deposit", "Put coins in, also for others."),
                "fund": Verb(f"{CLI}.ledger.fund:fund", "Move coins to the account with a provider."),
                "top-up": Verb(f"{CLI}.ledger.top_up:top_up", "Keep an account with a provider topped up."),
                "retrieve": Verb(f"{CLI}.ledger.retrieve:retrieve", "Ask coins back from providers."),
                "withdraw": Verb(f"{CLI}.ledger.withdraw:withdraw", "Take coins out: so many, or all."),
                "describe": Verb(f"{CLI}.ledger.describe:describe_ledger", "Change the information for providers."),
                "delete": Verb(f"{CLI}.ledger.delete:delete", "Delete the empty ledger."),
            },
            "A user's money: in, out, to providers and back.",
        ),
        "account": Noun(
            {
                "show": Verb(f"{CLI}.account.show:show", "Show everything that a user has, as a tree."),
                "list": Verb(f"{CLI}.account.list:list_accounts", "List accounts."),
                "acknowledge": Verb(
                    f"{CLI}.account.acknowledge:acknowledge", "Confirm a provider's TEE signer, or take it back."
                ),
            },
            "Accounts of users with providers.",
        ),
        "token": Noun(
            {
                "make": Verb(f"{CLI}.token.make:make", "Make a token for a provider's server."),
                "list": Verb(f"{CLI}.token.list:list_tokens", "List API keys and revoked ids."),
                "revoke": Verb(f"{CLI}.token.revoke:revoke", "Revoke API keys."),
                "revoke-all": Verb(f"{CLI}.token.revoke_all:revoke_all", "Revoke every token for a provider."),
                "check": Verb(f"{CLI}.token.check:check", "For providers: check an Authorization header."),
            },
            "Session tokens and API keys.",
        ),
        "service": Noun(
            {
                "list": Verb(f"{CLI}.service.list:list_services", "List every provider's service."),
                "show": Verb(f"{CLI}.service.show:show", "Show one provider's service."),
                "register": Verb(f"{CLI}.service.register:register", "Register as a provider."),
                "update": Verb(f"{CLI}.service.update:update", "Change the registered service."),
                "remove": Verb(f"{CLI}.service.remove:remove", "Remove the service and get the stake back."),
            },
            "What providers offer.",
        ),
        "settle": Verb(f"{CLI}.settle:settle", "For providers: settle a usage log."),
        "earnings": Verb(f"{CLI}.earnings:earnings", "List what a provider was paid."),
        "settlement": Noun(
            {
                "list": Verb(f"{CLI}.settlement.list:list_settlements", "List batches, what waits, and void requests."),
                "cancel": Verb(f"{CLI}.settlement.cancel:cancel", "End settlements whose transactions wait."),
                "adopt": Verb(f"{CLI}.settlement.adopt:adopt", "Book settlements that the journal does not know."),
                "backup": Verb(f"{CLI}.settlement.backup:backup", "Copy the journal."),
                "void": Verb(f"{CLI}.settlement.void:void", "Take a request out, so that it is not charged."),
                "books": Verb(f"{CLI}.settlement.books:books", "Compare what contracts hold and owe."),
                "preview": Verb(f"{CLI}.settlement.preview:preview", "Show what settling would do."),
                "send": Verb(f"{CLI}.settlement.send:send", "Settle what a TEE has signed."),
            },
            "For providers: settlements, and the journal of what was settled.",
        ),
        "deliverable": Noun(
            {
                "list": Verb(f"{CLI}.deliverable.list:list_deliverables", "List deliverables."),
                "show": Verb(f"{CLI}.deliverable.show:show", "Show one deliverable."),
                "add": Verb(f"{CLI}.deliverable.add:add", "For providers: hand one over."),
                "acknowledge": Verb(f"{CLI}.deliverable.acknowledge:acknowledge", "For users: accept one."),
                "abandon": Verb(f"{CLI}.deliverable.abandon:abandon", "For providers: give one up."),
                "settle": Verb(f"{CLI}.deliverable.settle:settle", "For providers: be paid for one."),
            },
            "Fine-tuned models on their way from provider to user.",
        ),
        "signer": Noun(
            {
                "waiting": Verb(f"{CLI}.signer.waiting:waiting", "List who waits for confirmation."),
                "confirm": Verb(f"{CLI}.signer.confirm:confirm", "Confirm a signer."),
                "revoke": Verb(f"{CLI}.signer.revoke:revoke", "Take a confirmation back."),
            },
            "For the owner: providers' TEE signers.",
        ),
        "setting": Noun(
            {
                "show": Verb(f"{CLI}.setting.show:show", "Show owners, minimums, lock time, penalty."),
                "lock-time": Verb(f"{CLI}.setting.lock_time:lock_time", "Change how long coins take to come home."),
                "penalty": Verb(f"{CLI}.setting.penalty:penalty", "Change the penalty."),
            },
            "What the owner sets.",
        ),
        "ownership": Verb(f"{CLI}.ownership:app", "Show who owns the contracts, and transfer ownership."),
        "migrate": Verb(f"{CLI}.migrate:app", "Migrate from the old version, or between service versions."),
        "events": Verb(f"{CLI}.events:events", "Print events, past and as they come."),
        "watch": Verb(f"{CLI}.watch:watch", "Watch balances and settlements."),
        "transaction": Noun(
            {
                "show": Verb(f"{CLI}.transaction.show:show", "Show what became of a transaction."),
            },
            "What was sent.",
        ),
        "key": Noun(
            {
                "new": Verb(f"{CLI}.key.new:new", "Make a new key."),
                "import": Verb(f"{CLI}.key.import_:import_key", "Bring in a key."),
                "list": Verb(f"{CLI}.key.list:list_keys", "List keys."),
                "show-address": Verb(f"{CLI}.key.show_address:show_address", "Print a key's address."),
                "use": Verb(f"{CLI}.key.use:use", "Use this key from now on."),
                "forget": Verb(f"{CLI}.key.forget:forget", "Use no key from now on."),
                "remove": Verb(f"{CLI}.key.remove:remove", "Delete a key."),
            },
            "Keys, in encrypted files.",
        ),
        "network": Noun(
            {
                "add": Verb(f"{CLI}.network.add:add", "Add or change a network."),
                "list": Verb(f"{CLI}.network.list:list_networks", "List networks."),
                "show": Verb(f"{CLI}.network.show:show", "Show one network."),
                "use": Verb(f"{CLI}.network.use:use", "Use this network from now on."),
                "remove": Verb(f"{CLI}.network.remove:remove", "Forget a network."),
            },
            "Networks by name.",
        ),
        "address": Noun(
            {
                "add": Verb(f"{CLI}.address.add:add", "Give an address a name."),
                "list": Verb(f"{CLI}.address.list:list_addresses", "List names."),
                "remove": Verb(f"{CLI}.address.remove:remove", "Forget a name."),
            },
            "The address book.",
        ),
        "deploy": Verb(f"{CLI}.deploy:app", "Deploy a network, and compare its record with the chain."),
        "upgrade": Verb(f"{CLI}.upgrade:app", "Upgrade a contract in place, or roll an upgrade back."),
        "verify": Verb(f"{CLI}.verify:app", "Verify deployed contracts against their sources."),
        "registry": Verb(f"{CLI}.registry:app", "List, register and recommend services."),
        "health": Verb(f"{CLI}.health:health", "Check the network's health."),
        "artifacts": Verb(f"{CLI}.artifacts:artifacts", "Write the compiled contracts for other toolchains."),
        "completion": Verb(f"{CLI}.completion:completion", "Print the completion script for a shell."),
    }


app = typer.Typer(
    cls=Serving,
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,  # a local variable may be a key
    help="Use, provide and run a serving network: pay for AI services, and be paid for them.",
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
