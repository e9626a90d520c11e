# SPDX-License-Identifier: Apache-2.0
"""What a payment from a user to a provider needs, in the order in which the two can provide it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from serving_network.clients.doctor.check import Check, coins
from serving_network.clients.doctor.provider import examine_service
from serving_network.clients.doctor.user import has_ledger
from serving_network.contracts.models import INFERENCE
from serving_network.money import describe, rounded

if TYPE_CHECKING:
    from serving_network.clients.read.network import AsyncNetwork
    from serving_network.contracts.models import Account, Ledger


@dataclass(frozen=True)
class Means:
    """What the user has, and what it takes to fund the account. Amounts are in wei.

    `amount` must be transferred to the account, of which `moved` leaves the ledger and the rest cancels refunds;
    `deposited` must be paid into the ledger first.
    """

    account: Account | None
    ledger: Ledger | None
    amount: int
    moved: int
    deposited: int

    @classmethod
    async def of(cls, network: AsyncNetwork, user: str, provider: str, service: str, fee: int | None) -> Means:
        """The means for a payment of `fee`. Without a fee, any balance will do."""
        account = await network.account(user, provider, service)
        ledger = await network.ledger(user)
        least_ledger, least_transfer = await network.minimums()
        if account is None:
            moved = amount = max(least_transfer, fee or 0)
        else:
            wanted = fee if fee is not None else 0 if account.balance else least_transfer
            moved = max(wanted - account.balance, 0)
            amount = moved + account.pending_refund if moved else 0
        deposited = max(least_ledger, moved) if ledger is None else max(moved - ledger.available, 0)
        return cls(account, ledger, amount, moved, deposited)

    @property
    def needs_nothing(self) -> bool:
        """Whether the account is there, is acknowledged and holds enough."""
        return self.account is not None and self.account.acknowledged and not self.amount


async def examine_payment(
    network: AsyncNetwork, user: str, provider: str, service: str = INFERENCE, fee: int | None = None
) -> list[Check]:
    """Check everything that a payment of `fee` needs, or without a fee any payment."""
    means = await Means.of(network, user, provider, service, fee)
    return [
        *await examine_relation(network, user, provider, service, means),
        await balance(network, provider, service, means, fee),
    ]


async def examine_relation(network: AsyncNetwork, user: str, provider: str, service: str, means: Means) -> list[Check]:
    """Check all but the balance of the account."""
    found = await network.service(service)
    account = means.account
    return [
        await coins(network, user, "user", means.deposited, needed=not means.needs_nothing),
        has_ledger(means.ledger, means.deposited),
        Check(
            "enough available",
            None if means.ledger is None else means.ledger.available >= means.moved,
            f"{rounded(means.ledger.available if means.ledger else 0)}; {describe(means.moved)} to be moved"
            if means.moved
            else "nothing has to be moved",
            f"serving ledger deposit '{describe(means.deposited)}'",
            "user",
        ),
        *await examine_service(network, provider, service),
        Check("account exists", account is not None, f"in {found.name}", _fund(provider, means, found.name), "user"),
        Check(
            "acknowledged by the user",
            None if account is None else account.acknowledged,
            "by funding the provider, or explicitly",
            f"serving account acknowledge {provider} --service {found.name}",
            "user",
        ),
    ]


async def balance(
    network: AsyncNetwork, provider: str, service: str, means: Means, fee: int | None, otherwise: str = ""
) -> Check:
    """Check that the account holds the fee; `otherwise` says what happens if not."""
    found = await network.service(service)
    account = means.account
    if account is None:
        return Check("balance", None, "no account")
    detail = f"{rounded(account.balance)}, pending refund {rounded(account.pending_refund)}"
    if fee is not None:
        detail = f"{describe(account.balance)} for a fee of {describe(fee)}"
        detail += f"; {otherwise}" if otherwise and means.amount else ""
    return Check("balance", not means.amount, detail, _fund(provider, means, found.name), "user")


def _fund(provider: str, means: Means, service: str) -> str:
    return f"serving ledger fund {provider} '{describe(means.amount)}' --service {service}"
