# SPDX-License-Identifier: Apache-2.0
"""Every operation of the budget table: its preparation and the measured transaction."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from benchmarks.gas.network import FINE_TUNING, Network, Step
from tests.evm import GAS_LIMIT
from tests.unit.contract import COIN, Done

INVALID_NONCE = 4
RING = 20


@dataclass(frozen=True)
class Budget:
    """A row of the table: the gas of the live network's contracts (None if they have no such operation), our budget,
    and the gas limit that a published client sends, if any."""

    operation: str
    live: int | None
    budget: int
    limit: int | None = None


BUDGETS: Final = tuple(Budget(**row) for row in json.loads(Path(__file__).with_name("budgets.json").read_text()))

Prepare = Callable[[Network], Step]


def settle_many(users: int, times: int, net: Network, *, first: bool = False) -> Step:
    """A batch of `users` times `times` entries; not the first of these accounts unless `first`."""
    customers = net.customers[:users]
    if not first:
        net.settle_batch([net.settlement(user) for user in customers]).send()
    return net.settle_each([net.settlement(customers[at % users]) for at in range(users * times)])


def settle_used_nonce(net: Network) -> Step:
    """The same settlement a second time."""
    user = net.customers[0]
    settlement = net.settlement(user)
    net.settle_each([settlement]).send()
    return net.settle_each([settlement])


def settle_with_one_signature(users: int, net: Network, *, first: bool = False) -> Step:
    customers = net.customers[:users]
    if not first:
        net.settle_batch([net.settlement(user) for user in customers]).send()
    return net.settle_batch([net.settlement(user) for user in customers])


def add_ledger(net: Network) -> Step:
    return Step(net.ledger, "addLedger", ("",), net.account("user"), 50 * COIN)


def deposit(net: Network) -> Step:
    return Step(net.ledger, "depositFund", (), net.user(), 5 * COIN)


def deposit_for(net: Network) -> Step:
    return Step(net.ledger, "depositFundFor", (net.user(),), net.owner, 5 * COIN)


def transfer_new(net: Network) -> Step:
    return net.transfer_step(net.user())


def transfer_existing(net: Network) -> Step:
    user = net.customers[0]
    return net.transfer_step(user)


def transfer_cancelling(net: Network) -> Step:
    """Part of a pending refund is cancelled; no funds move."""
    user = net.customers[0]
    net.retrieve_step(user, [net.provider]).send()
    return net.transfer_step(user)


def request(providers: int, net: Network) -> Step:
    chosen = net.providers[:providers]
    return net.retrieve_step(leaver(net, chosen), chosen)


def process(net: Network) -> Step:
    user = net.customers[0]
    net.retrieve_step(user, [net.provider]).send()
    net.evm.time += 86_400
    return net.retrieve_step(user, [net.provider])


def refund_part(net: Network) -> Step:
    return Step(net.ledger, "refund", (COIN,), net.user())


def leaver(net: Network, providers: Sequence[str]) -> str:
    """A user with a funded account at each of the providers and nothing available in the ledger."""
    user = net.user(2 * COIN * max(len(providers), 2))
    for provider in providers:
        net.transfer(user, provider)
    return user


def refund_everything(providers: int, net: Network, *, later: bool = False) -> Step:
    """The last step of leaving; `later` if others have opened accounts with these providers since."""
    user = leaver(net, net.providers[:providers])
    if later:
        net.neighbour()
    net.empty(user, net.providers[:providers])
    return Step(net.ledger, "refund", (net.ledger.ask("getLedger", user)["availableBalance"],), user)


def delete_ledger(providers: int, net: Network, *, later: bool = False) -> Step:
    """Nothing is left: another provider's settlement took the balance. The accounts still exist."""
    chosen = net.providers[:providers]
    user = net.user(2 * COIN * max(providers, 2))
    for provider in chosen:
        net.transfer(user, provider)
    if later:
        net.neighbour()
    paid = net.provider
    for provider in chosen:
        net.provider = provider
        net.settle_batch([net.settlement(user, 2 * COIN)]).send()
    net.provider = paid
    return Step(net.ledger, "deleteLedger", (), user)


def register_service(net: Network) -> Step:
    spare = net.spare_service()
    return Step(net.ledger, "registerService", ("inference", "v1.1", spare, "Inference, next version"), net.owner)


def first_registration(net: Network) -> Step:
    return net.register(net.account("provider"))


def other_price(net: Network) -> Step:
    return net.register(net.provider, price=101, stake=0)


def other_text(net: Network) -> Step:
    return net.register(net.provider, info="j" * 400, stake=0)


def remove_service(net: Network) -> Step:
    """Remove a service that is not the last of the list: the last one moves into its place."""
    return Step(net.inference, "removeService", (), net.provider)


def confirm_signer(net: Network) -> Step:
    provider = net.account("provider")
    net.register(provider).send()
    return Step(net.inference, "acknowledgeTEESignerByOwner", (provider,), net.owner)


def revoke_token(net: Network) -> Step:
    user = net.customers[0]
    net.inference.send("revokeToken", net.provider, 3, sender=user)
    return Step(net.inference, "revokeToken", (net.provider, 4), user)


def revoke_all_tokens(net: Network) -> Step:
    user = net.customers[0]
    net.inference.send("revokeAllTokens", net.provider, sender=user)
    return Step(net.inference, "revokeAllTokens", (net.provider,), user)


def first_tuning_registration(net: Network) -> Step:
    return net.register_fine_tuning(net.account("provider"))


def other_tuning_price(net: Network) -> Step:
    return net.register_fine_tuning(net.provider, price=8, stake=0)


def trainee(net: Network, finished: int) -> str:
    """A user with a fine-tuning account and finished tasks."""
    user = net.user()
    net.transfer(user, service=FINE_TUNING)
    for number in range(finished):
        net.finish_task(user, number)
    return user


def add_deliverable(earlier: int, net: Network) -> Step:
    return net.deliver(trainee(net, earlier), earlier)


def acknowledge_deliverable(net: Network) -> Step:
    user = trainee(net, 1)
    net.deliver(user, 1).send()
    return net.acknowledge(user, 1)


def settle_acknowledged(net: Network) -> Step:
    user = trainee(net, 1)
    net.deliver(user, 1).send()
    net.acknowledge(user, 1).send()
    return net.settle_task(user, 1)


def settle_penalty(net: Network) -> Step:
    user = trainee(net, 1)
    net.deliver(user, 1).send()
    return net.settle_task(user, 1, b"")


OPERATIONS: Final[dict[str, Prepare]] = {
    "settleFeesWithTEE x50, distinct users, steady state": partial(settle_many, 50, 1),
    "settleFeesWithTEE x50, distinct users, each account's first settlement": partial(settle_many, 50, 1, first=True),
    "settleFeesWithTEE x50, 2 users repeated": partial(settle_many, 2, 25),
    "settleFeesWithTEE x10, distinct users, steady state": partial(settle_many, 10, 1),
    "settleFeesWithTEE x1, steady state": partial(settle_many, 1, 1),
    "settleFeesWithTEE x1, INVALID_NONCE": settle_used_nonce,
    "settleBatchWithTEE x50, distinct users": partial(settle_with_one_signature, 50),
    "settleBatchWithTEE x200, distinct users": partial(settle_with_one_signature, 200),
    "addLedger, empty info": add_ledger,
    "depositFund, existing ledger": deposit,
    "depositFundFor, existing ledger": deposit_for,
    "transferFund, new account": transfer_new,
    "transferFund, existing account": transfer_existing,
    "transferFund, pending refund cancelled": transfer_cancelling,
    "retrieveFund x1, request, first ever": partial(request, 1),
    "retrieveFund x1, process": process,
    "retrieveFund x5, request, first ever": partial(request, 5),
    "refund, partial": refund_part,
    "refund of everything, account at 1 inference provider": partial(refund_everything, 1),
    "refund of everything, accounts at 5 inference providers": partial(refund_everything, 5),
    "deleteLedger, accounts at 3 inference providers": partial(delete_ledger, 3),
    "registerService": register_service,
    "inference addOrUpdateService, first, 400-byte additionalInfo": first_registration,
    "inference addOrUpdateService, price only": other_price,
    "inference addOrUpdateService, 400-byte additionalInfo changed": other_text,
    "inference removeService": remove_service,
    "inference acknowledgeTEESignerByOwner": confirm_signer,
    "revokeToken, bitmap already non-zero": revoke_token,
    "revokeAllTokens, again": revoke_all_tokens,
    "fine-tuning addOrUpdateService, first, 3 models": first_tuning_registration,
    "fine-tuning addOrUpdateService, price only": other_tuning_price,
    "addDeliverable, not the first": partial(add_deliverable, 1),
    "addDeliverable, evicting the oldest": partial(add_deliverable, RING),
    "acknowledgeDeliverable": acknowledge_deliverable,
    "settleFees, acknowledged, 100-byte secret": settle_acknowledged,
    "settleFees, unacknowledged": settle_penalty,
}

# Removing an account moves the entries of users who came later: the same operations in the worst case.
WITH_LATER_ACCOUNTS: Final[dict[str, Prepare]] = {
    "refund of everything, account at 1 inference provider": partial(refund_everything, 1, later=True),
    "refund of everything, accounts at 5 inference providers": partial(refund_everything, 5, later=True),
    "deleteLedger, accounts at 3 inference providers": partial(delete_ledger, 3, later=True),
}


def measure(net: Network, prepare: Prepare, gas: int = GAS_LIMIT) -> Done:
    """Prepare, send with a gas limit, and leave the network as it was."""
    with net.undone():
        return prepare(net).send(gas)


def measure_all(net: Network) -> dict[str, int]:
    """The gas of every operation of the table, and of those that cost more if others came later."""
    figures = {operation: measure(net, prepare).gas_used for operation, prepare in OPERATIONS.items()}
    for operation, prepare in WITH_LATER_ACCOUNTS.items():
        figures[f"{operation}, others having come later"] = measure(net, prepare).gas_used
    return figures


def statuses(done: Done) -> list[int]:
    """The status of each entry or row of a settlement."""
    events = done.named("TEESettlementResult") or done.named("BatchRowSettled")
    return [args["status"] for args in events]
