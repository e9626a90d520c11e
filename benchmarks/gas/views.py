# SPDX-License-Identifier: Apache-2.0
"""The worst-case gas of the listings: every entry has the longest texts that the limits allow.

A node answers a call within a gas limit, by custom that of a block. Accounts, registrations and services are put in as
full as they can be; a figure is the gas of the whole call.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from benchmarks.gas.network import FINE_TUNING, STAKE, Network, deliverable
from tests.evm import Outcome
from tests.unit.contract import COIN, Contract

CALL_LIMIT: Final = 30_000_000
ENOUGH: Final = 10**10
PAGE: Final = 50
REFUNDS: Final = 5
RING: Final = 20
SERVICES: Final = 500
BATCH: Final = 500
INFO, URL, SHORT, MODELS, ID, LONG, DESCRIPTION, NAME = 4096, 2048, 256, 64, 256, 1024, 1024, 64

# supportsInterface: yes to everything but 0xffffffff.
SAYS_YES: Final = bytes.fromhex("60043560e01c63ffffffff1815155f5260205ff3")


class Crowd:
    """A network whose lists are full of the longest texts."""

    def __init__(self) -> None:
        self.net = Network(0, neighbours=0)
        self.services = (self.net.inference, self.net.fine_tuning)
        known = self.net.providers
        self.providers = known + [self.net.account("provider") for _ in range(PAGE - len(known))]
        self.users = [self.net.account("user") for _ in range(PAGE)]
        self.net.provider = self.providers[0]
        self.keeper = self.net.ledger.address

    def fill_ledgers(self) -> None:
        """Fifty users with the longest descriptions, who use both services."""
        for user in self.users:
            self.net.ledger.send("addLedger", "i" * INFO, sender=user, value=10 * COIN)
            self.net.transfer(user)
            self.net.transfer(user, service=FINE_TUNING)

    def fill_accounts(self) -> None:
        """Fifty accounts of one user besides those of one provider, and five refunds in each."""
        self.net.evm.set_balance(self.keeper, 10**27)
        pairs = [(user, self.providers[0]) for user in self.users]
        for provider in self.providers[1:]:
            pairs.append((self.users[0], provider))
            for service in self.services:
                args = (self.users[0], provider, "i" * INFO)
                service.send("addAccount", *args, sender=self.keeper, value=COIN)
        for user, provider in pairs:
            for service in self.services:
                for _ in range(REFUNDS):
                    service.send("requestRefundAll", user, provider, sender=self.keeper)
                    service.send("depositFund", user, provider, 0, sender=self.keeper, value=COIN)

    def fill_ring(self) -> None:
        """Twenty deliverables with the longest ids, roots and secrets."""
        net, user = self.net, self.users[0]
        net.fine_tuning.send("acknowledgeTEESignerByOwner", net.provider, sender=net.owner)
        for number in range(RING):
            name, root = deliverable(number).ljust(ID, "d"), b"r" * LONG
            net.fine_tuning.send("addDeliverable", user, name, root, sender=net.provider)
            net.fine_tuning.send("acknowledgeDeliverable", net.provider, name, sender=user)
            net.settle_task(user, number, b"s" * LONG, name=name, root=root, fee=1).send()

    def fill_offers(self) -> None:
        text = "t" * SHORT
        quota = {"cpuCount": 1, "nodeMemory": 1, "gpuCount": 1, "nodeStorage": 1, "gpuType": text}
        signer = self.net.tee.address
        offer = {
            "serviceType": text,
            "url": "u" * URL,
            "model": text,
            "verifiability": text,
            "inputPrice": 1,
            "outputPrice": 1,
            "additionalInfo": "i" * INFO,
            "teeSignerAddress": signer,
        }
        tuning = ("u" * URL, quota, 1, False, ["m" * SHORT] * MODELS, signer)
        for provider in self.providers:
            stake = 0 if provider in self.net.providers else STAKE
            self.net.inference.send("addOrUpdateService", offer, sender=provider, value=stake)
            self.net.fine_tuning.send("addOrUpdateService", *tuning, sender=provider, value=stake)

    def fill_registry(self) -> None:
        _, listed = self.net.ledger.ask("getActiveServices", 0, 1)
        for number in range(listed, SERVICES):
            service = self.net.account("service")
            self.net.evm.set_code(service, SAYS_YES)
            args = ("k" * NAME, f"{number}".rjust(NAME, "v"), service, "d" * DESCRIPTION)
            self.net.ledger.send("registerService", *args, sender=self.net.owner)

    def gas(self, contract: Contract, name: str, *args: Any, sender: str | None = None) -> int:
        """The gas of one call. Raises AssertionError if it reverts for a reason other than gas."""
        data = contract.interface.encode(name, *args)
        outcome: Outcome = self.net.evm.view(contract.address, data, sender=sender or self.net.owner, gas=ENOUGH)
        if not outcome.success:
            raise AssertionError(f"{name} was refused: {outcome.output.hex()}")
        return outcome.gas_used


def full_crowd() -> Crowd:
    """Everything is full except the registry."""
    crowd = Crowd()
    crowd.fill_offers()
    crowd.fill_ledgers()
    crowd.fill_accounts()
    crowd.fill_ring()
    return crowd


def measure_views(crowd: Crowd) -> dict[str, int]:
    """Gas of every listing, with fifty entries unless its name says otherwise. Fills the registry."""
    inference, tuning, ledger = crowd.net.inference, crowd.net.fine_tuning, crowd.net.ledger
    provider, user = crowd.providers[0], crowd.users[0]
    figures: dict[str, int] = {}
    for title, service in (("inference", inference), ("fine-tuning", tuning)):
        figures |= {
            f"{title} getAllAccounts, page of 50": crowd.gas(service, "getAllAccounts", 0, PAGE),
            f"{title} getAccountsByProvider, page of 50": crowd.gas(
                service, "getAccountsByProvider", provider, 0, PAGE
            ),
            f"{title} getAccountsByUser, page of 50": crowd.gas(service, "getAccountsByUser", user, 0, PAGE),
            f"{title} getBatchAccountsByUsers, 50 users": crowd.gas(
                service, "getBatchAccountsByUsers", crowd.users, sender=provider
            ),
            f"{title} getAccount": crowd.gas(service, "getAccount", user, provider),
            f"{title} getService": crowd.gas(service, "getService", provider),
        }
    figures["inference getAllServices, page of 50"] = crowd.gas(inference, "getAllServices", 0, PAGE)
    figures["fine-tuning getServices, a full page"] = crowd.gas(tuning, "getServices", 0, PAGE)
    figures["fine-tuning getAllServices, unpaged"] = crowd.gas(tuning, "getAllServices")
    figures["fine-tuning getDeliverables, 20 entries"] = crowd.gas(tuning, "getDeliverables", user, provider)
    more = [crowd.net.account("user") for _ in range(BATCH - PAGE)]
    for one in more:
        inference.send("addAccount", one, crowd.providers[1], "", sender=crowd.keeper, value=COIN)
    figures["inference getBatchAccountsByUsers, 500 users without descriptions"] = crowd.gas(
        inference, "getBatchAccountsByUsers", more + crowd.providers, sender=crowd.providers[1]
    )
    figures["getLedger, one account in each of two services"] = crowd.gas(ledger, "getLedger", crowd.users[1])
    figures["getLedger, fifty accounts in each of two services"] = crowd.gas(ledger, "getLedger", user)
    figures["getAllLedgers, page of 50"] = crowd.gas(ledger, "getAllLedgers", 0, PAGE)
    crowd.fill_registry()
    figures["getActiveServices, page of 50"] = crowd.gas(ledger, "getActiveServices", 0, PAGE)
    figures["getActiveServices, page of 50, the last"] = crowd.gas(ledger, "getActiveServices", SERVICES - PAGE, PAGE)
    figures["getAllActiveServices, unpaged, 500 services"] = crowd.gas(ledger, "getAllActiveServices")
    figures["getVersionsPaged, page of 50"] = crowd.gas(ledger, "getVersionsPaged", "k" * NAME, 0, PAGE)
    figures["getAllVersions, unpaged, 498 versions"] = crowd.gas(ledger, "getAllVersions", "k" * NAME)
    return figures


def unanswerable(figures: Mapping[str, int]) -> list[str]:
    """The listings that exceed the gas limit of a node's calls."""
    return [name for name, gas in figures.items() if gas > CALL_LIMIT]
