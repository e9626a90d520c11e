# SPDX-License-Identifier: Apache-2.0
"""How gas grows: nothing may cost more in a larger network; operations on the caller's own data may."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from benchmarks.gas.network import DAY, FEE, FINE_TUNING, Network, Step
from benchmarks.gas.operations import OPERATIONS, WITH_LATER_ACCOUNTS, Prepare, measure, trainee
from tests.unit.contract import COIN

SERVICES, ACCOUNTS = "other registered services", "accounts with the provider"
PROVIDERS, REFUNDS = "accounts of the caller", "waiting refunds of the account"
DELIVERABLES = "deliverables of the account"
SIZES: Final = {
    SERVICES: (1, 10, 100),
    ACCOUNTS: (1, 10, 100, 500),
    PROVIDERS: (1, 10, 49),
    REFUNDS: (0, 1, 2, 3, 4, 5),
    DELIVERABLES: (1, 10, 19),
}


@dataclass(frozen=True)
class Growth:
    """The gas of operations (by name) at each of the `SIZES`; `own` names those that may grow, because the data
    belongs to the caller or the account."""

    what: str
    gas: dict[str, list[int]]
    own: frozenset[str] = frozenset()

    def not_flat(self) -> list[str]:
        """The operations whose gas depends on the size although the data is not the caller's own."""
        return [name for name, values in self.gas.items() if name not in self.own and len(set(values)) != 1]

    def figures(self) -> dict[str, int]:
        """One figure for an operation of constant gas, one for each size otherwise."""
        figures = {}
        for operation, values in self.gas.items():
            if len(set(values)) == 1:
                figures[f"{operation}, whatever the number of {self.what}"] = values[0]
                continue
            for size, gas in zip(SIZES[self.what], values, strict=True):
                figures[f"{operation}, {self.what}: {size}"] = gas
        return figures


def everybody() -> dict[str, Prepare]:
    """The operations of the table except the largest batches, whose users already are the whole network."""
    later = {f"{name}, others having come later": prepare for name, prepare in WITH_LATER_ACCOUNTS.items()}
    return {name: prepare for name, prepare in OPERATIONS.items() if "x50" not in name and "x200" not in name} | later


def grow(
    net: Network,
    what: str,
    extend: Callable[[int], None],
    operations: dict[str, Prepare],
    own: frozenset[str] = frozenset(),
) -> Growth:
    gas: dict[str, list[int]] = {name: [] for name in operations}
    for size in SIZES[what]:
        extend(size)
        for name, prepare in operations.items():
            gas[name].append(measure(net, prepare).gas_used)
    return Growth(what, gas, own)


def by_services() -> Growth:
    """Registered services that have nothing to do with the caller."""
    net = Network(10)
    return grow(net, SERVICES, lambda size: net.list_services(size + 1), everybody())


def by_accounts() -> Growth:
    """Accounts of others in the same service, all with the same provider, and as many ledgers."""
    net = Network(1, neighbours=0)

    def extend(size: int) -> None:
        net.customers += [net.customer() for _ in range(size - len(net.customers))]

    operations = {name: prepare for name, prepare in everybody().items() if "x10" not in name}
    return grow(net, ACCOUNTS, extend, operations)


def by_providers() -> Growth:
    """Accounts of the caller in one service, up to the 50 that the ledger allows."""
    net = Network(1)
    user = net.customers[0]
    others: list[str] = []

    def extend(size: int) -> None:
        while len(others) < size - 1:
            others.append(net.account("provider"))
            net.transfer(user, others[-1])

    def leave(net: Network) -> Step:
        """All accounts are empty."""
        net.empty(user, [net.provider, *others])
        return Step(net.ledger, "refundAll", (), user)

    growing: dict[str, Prepare] = {
        "refundAll, accounts hold coins": lambda net: Step(net.ledger, "refundAll", (), user),
        "refundAll, deleting the empty accounts": leave,
    }
    operations: dict[str, Prepare] = {
        "settleFeesWithTEE x1": lambda net: net.settle_each([net.settlement(user)]),
        "settleBatchWithTEE x1": lambda net: net.settle_batch([net.settlement(user)]),
        "depositFund": lambda net: Step(net.ledger, "depositFund", (), user, COIN),
        "refund, partial": lambda net: Step(net.ledger, "refund", (COIN,), user),
        "transferFund, new account": lambda net: net.transfer_step(user, net.owner),
        "transferFund, existing account": lambda net: net.transfer_step(user),
        "retrieveFund x1, request": lambda net: net.retrieve_step(user, [net.provider]),
        "retrieveFund x1, process": lambda net: requested(user, net),
        "revokeToken": lambda net: Step(net.inference, "revokeToken", (net.provider, 1), user),
    }
    return grow(net, PROVIDERS, extend, operations | growing, frozenset(growing))


def requested(user: str, net: Network) -> Step:
    net.retrieve_step(user, [net.provider]).send()
    net.evm.time += DAY
    return net.retrieve_step(user, [net.provider])


def by_refunds() -> Growth:
    """Pending refunds of the account, which also has a free balance. Each refund is a part of the previous one that was
    cancelled and requested again."""
    net = Network(1)
    user = net.customers[0]
    free = COIN // 100

    def extend(size: int) -> None:
        if size == 0:
            return
        part = 10 * COIN >> size
        if size > 1:
            net.transfer(user, amount=2 * part - free)
        net.retrieve_step(user, [net.provider]).send()
        net.transfer(user, amount=free)
        waiting = net.inference.ask("getAccount", user, net.provider)["validRefundsLength"]
        if waiting != size:
            raise AssertionError(f"{waiting} refunds wait, not {size}")

    growing: dict[str, Prepare] = {
        "settleFeesWithTEE x1, taking every refund": lambda net: net.settle_each([net.settlement(user, 10 * COIN)]),
        "transferFund, cancelling every refund": lambda net: net.transfer_step(user, amount=10 * COIN),
        "retrieveFund x1, request": lambda net: net.retrieve_step(user, [net.provider]),
        "retrieveFund x1, process": lambda net: matured(user, net),
    }
    operations: dict[str, Prepare] = {
        "settleFeesWithTEE x1": lambda net: net.settle_each([net.settlement(user, min(FEE, free))]),
        "settleBatchWithTEE x1": lambda net: net.settle_batch([net.settlement(user, min(FEE, free))]),
        "depositFund": lambda net: Step(net.ledger, "depositFund", (), user, COIN),
        "refund, partial": lambda net: Step(net.ledger, "refund", (COIN,), user),
        "transferFund, nothing moved": lambda net: net.transfer_step(user, amount=0),
        "transferFund, to another provider": lambda net: net.transfer_step(user, net.providers[1]),
        "revokeToken": lambda net: Step(net.inference, "revokeToken", (net.provider, 1), user),
    }
    return grow(net, REFUNDS, extend, operations | growing, frozenset(growing))


def matured(user: str, net: Network) -> Step:
    net.evm.time += DAY
    return net.retrieve_step(user, [net.provider])


def by_deliverables() -> Growth:
    """Deliverables of one user and provider, until the ring is full and the oldest is evicted."""
    net = Network(0)
    user = trainee(net, 0)
    finished: list[int] = []

    def extend(size: int) -> None:
        for number in range(len(finished), size):
            net.finish_task(user, number)
            finished.append(number)

    def acknowledge(net: Network) -> Step:
        net.deliver(user, len(finished)).send()
        return net.acknowledge(user, len(finished))

    def leave(net: Network) -> Step:
        net.empty(user, [net.provider], service=FINE_TUNING)
        return Step(net.ledger, "refundAll", (), user)

    operations: dict[str, Prepare] = {
        "addDeliverable": lambda net: net.deliver(user, len(finished)),
        "acknowledgeDeliverable": acknowledge,
        "refundAll, deleting the account": leave,
    }
    return grow(net, DELIVERABLES, extend, operations)


def measure_growth() -> list[Growth]:
    return [by_services(), by_accounts(), by_providers(), by_refunds(), by_deliverables()]
