"""`serving account show`"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from serving_network.cli.arguments import USER_OR_SELF
from serving_network.cli.context import Session, reads
from serving_network.cli.output import money
from serving_network.cli.times import moment, until
from serving_network.money import describe

if TYPE_CHECKING:
    from serving_network.contracts.models import Account, Balances


@reads
async def show(session: Session, user: USER_OR_SELF = None) -> None:
    """Show everything that a user has, as one tree: wallet, ledger, each provider, pending refunds.

    Example: serving account show
    """
    whose = session.address(user) if user else session.own_address()
    network = await session.reader()
    balances = await network.balances(whose)
    now = int((await network.chain.block())["timestamp"], 16)
    session.out.result(_as_json(balances))
    _print(session, balances, now)


def _print(session: Session, balances: Balances, now: int) -> None:
    out = session.out
    out.line(session.name(balances.user), "bold")
    out.line(f"├── wallet      {describe(balances.wallet)}")
    if balances.ledger is None:
        out.line("├── no ledger; serving ledger open AMOUNT")
    else:
        out.line(f"├── available   {describe(balances.ledger.available)}")
    for account in balances.accounts:
        out.line(f"├── {account.service}  {session.name(account.provider)}")
        out.line(f"│   ├── balance     {describe(account.balance)}")
        if not account.acknowledged:
            out.line("│   ├── its TEE signer is not acknowledged: it cannot be paid")
        for refund in account.refunds:
            out.line(f"│   ├── asked back  {describe(refund.amount)}, {until(refund.unlocks_at, now)}")
        out.line(f"│   └── spendable   {describe(account.spendable)}")
    out.line(f"└── together    {describe(balances.total)}")


def _as_json(balances: Balances) -> dict[str, Any]:
    ledger = balances.ledger
    return {
        "user": balances.user,
        "wallet": money(balances.wallet),
        "ledger": None
        if ledger is None
        else {"available": money(ledger.available), "total": money(ledger.total), "info": ledger.info},
        "accounts": [account_as_json(one) for one in balances.accounts],
        "total": money(balances.total),
    }


def account_as_json(account: Account) -> dict[str, Any]:
    """One account in JSON."""
    return {
        "service": account.service,
        "user": account.user,
        "provider": account.provider,
        "balance": money(account.balance),
        "pending_refund": money(account.pending_refund),
        "spendable": money(account.spendable),
        "refunds": [
            {"amount": money(one.amount), "asked": moment(one.created_at), "unlocks": moment(one.unlocks_at)}
            for one in account.refunds
        ],
        "acknowledged": account.acknowledged,
        "nonce": str(account.nonce),
        "generation": account.generation,
        "deliverables": account.deliverables,
    }
