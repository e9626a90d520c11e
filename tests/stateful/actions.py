# SPDX-License-Identifier: Apache-2.0
"""What people do to the network: one method an action, on the contracts and the model at once.

Amounts are named by what they are close to ("all", "min - 1"), because limits are where mistakes are. Nothing here
draws anything; the machine does.
"""

# ruff: noqa: ARG005, since the functions of a table take the same arguments
from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from serving_network.addresses import to_checksum_address
from tests.stateful.foreign import Foreign
from tests.stateful.model import (
    MAX_AVAILABLE,
    MAX_BALANCE,
    MAX_NONCE,
    MAX_QUOTA,
    MAX_STAKE,
    ZERO,
    Mood,
    Result,
    unpack_row,
)
from tests.stateful.signing import FINE_TUNING as FINE_TUNING_NAME
from tests.stateful.signing import INFERENCE as INFERENCE_NAME
from tests.stateful.signing import batch_hash, digest, malleated, settlement_hash, verifier_hash
from tests.stateful.world import (
    ALL_SERVICES,
    BEACONS,
    FINE_TUNINGS,
    INFERENCES,
    LEDGER,
    World,
)
from tests.unit.contract import COIN

Pair = tuple[str, str, str]
SETTLEMENTS = ("settleFeesWithTEE", "settleBatchWithTEE", "settleFees")

# How an amount stands to `whole` (what there is) and `least` (the minimum that applies).
AMOUNTS: dict[str, Callable[[int, int], int]] = {
    "nothing": lambda whole, least: 0,
    "1 wei": lambda whole, least: 1,
    "least - 1": lambda whole, least: least - 1,
    "least": lambda whole, least: least,
    "5 least": lambda whole, least: 5 * least,
    "third": lambda whole, least: whole // 3,
    "all but least": lambda whole, least: max(whole - least, 0),
    "all but least + 1": lambda whole, least: max(whole - least + 1, 0),
    "all": lambda whole, least: whole,
    "all + 1": lambda whole, least: whole + 1,
    "balance limit": lambda whole, least: MAX_BALANCE,
    "balance limit + 1": lambda whole, least: MAX_BALANCE + 1,
    "ledger limit": lambda whole, least: MAX_AVAILABLE,
    "to ledger limit": lambda whole, least: max(MAX_AVAILABLE - whole, 0),
    "past ledger limit": lambda whole, least: max(MAX_AVAILABLE - whole + 1, 0),
    "stake limit + 1": lambda whole, least: MAX_STAKE + 1,
}
NONCES: dict[str, Callable[[int], int]] = {
    "next": lambda nonce: nonce + 1,
    "much later": lambda nonce: nonce + 2**40,
    "same": lambda nonce: nonce,
    "first": lambda nonce: 1,
    "zero": lambda nonce: 0,
    "limit": lambda nonce: MAX_NONCE,
    "past limit": lambda nonce: MAX_NONCE + 1,
    "past limit, low bits later": lambda nonce: MAX_NONCE + 2 + nonce,
}
FORGERIES: dict[str, Callable[[bytes], bytes]] = {
    "none": lambda signature: signature,
    "malleated": malleated,
    "short": lambda signature: signature[:64],
    "long": lambda signature: signature + b"\0",
    "empty": lambda signature: b"",
    "v of 0 or 1": lambda signature: signature[:64] + bytes([signature[64] - 27]),
    "recovers to zero": lambda signature: bytes(64) + b"\x1b",
}
TEXTS = ["", "a note", "4096 characters", "4097 characters"]
# Registrations by number: what differs from variant 0.
INFERENCE_TERMS: list[dict[str, Any]] = [
    {},
    {"url": "https://1", "inputPrice": 1},
    {"model": "another model"},
    {"additionalInfo": "a note"},
    {"serviceType": "256 characters", "url": "2048 characters", "additionalInfo": "4096 characters"},
    {"verifiability": "256 characters", "inputPrice": 2**104 - 1, "outputPrice": 0},
    {"outputPrice": 2**104},
    {"additionalInfo": "4097 characters"},
    {"url": "2049 characters"},
    {"model": "257 characters"},
]
TUNING_TERMS: list[dict[str, Any]] = [
    {},
    {"url": "https://1", "price": 2**256 - 1},
    {"models": ["another model", ""]},
    {"occupied": True},
    {"url": "2048 characters", "gpuType": "256 characters", "models": ["256 characters"] * 64},
    {"cpuCount": MAX_QUOTA, "nodeStorage": MAX_QUOTA},
    {"gpuCount": MAX_QUOTA + 1},
    {"models": ["m"] * 65},
    {"url": "2049 characters"},
    {"models": ["257 characters"]},
]
# What may be wrong with the registration of a service: which of type, version, address and description.
ODDITIES: dict[str, dict[int, str]] = {
    "nothing": {},
    "no type": {0: ""},
    "no version": {1: ""},
    "a long version": {1: "65 characters"},
    "the longest words": {0: "64 characters", 1: "64 characters", 3: "1024 characters"},
    "a long description": {3: "1025 characters"},
    "a name that is taken": {0: "inference", 1: "v1.0"},
    "the same name, cut elsewhere": {0: "fine", 1: "tuning-v1.1"},
    "no address": {2: ZERO},
    "a wallet": {2: "wallet"},
    "the ledger": {2: LEDGER},
    "registered before": {2: "inference-v1.0"},
}


def add(sums: dict[str, int], key: str, amount: int) -> None:
    sums[key] = sums.get(key, 0) + amount


def text(said: Any) -> Any:
    """The text that is meant: "257 characters" are that many. What is no text stays what it is."""
    if not isinstance(said, str):
        return said
    count, _, unit = said.partition(" ")
    return "x" * int(count) if unit == "characters" else said


def columns(rows: list[tuple[Any, Any]]) -> tuple[list[Any], list[Any]]:
    return [one for one, _ in rows], [other for _, other in rows]


@dataclass(frozen=True)
class Row:
    """One settlement to be made up: the fee against the balance, the nonce against the last one, and what is wrong.

    People are numbered as the world lists them. None means what is right: the provider's registered signer, the sender
    as provider, the contract that is called.
    """

    user: int
    fee: str = "third"
    nonce: str = "next"
    forgery: str = "none"
    signer: int | None = None
    provider: int | None = None
    contract: str | None = None


class Actions:
    """The world, and what has to be remembered about it to judge what comes next."""

    world: World

    def __init__(self) -> None:
        self.seen: Counter[str] = Counter()
        """How often each function succeeded and was refused, each event was emitted, each error and status came up."""

    def begin(self, world: World) -> None:
        """Start again from the moment after deployment."""
        self.world = world
        world.reset()
        self.stakes: dict[tuple[str, str], int] = {}
        self.elsewhere: dict[tuple[str, str], int] = {}
        self.forced: dict[str, int] = {}
        self.accepted: set[tuple[Pair, int]] = set()
        self.may_lose: dict[Pair, int] = {}
        self.acted: set[str] = set()
        self.signed_away: dict[str, int] = {}
        self.went_out: dict[str, int] = {}
        self.came_in: dict[str, int] = {}
        self.settled_since: dict[tuple[str, str], int] = {}
        self.settled: list[tuple[str, str, str, tuple[Any, ...]]] = []
        self.sound = True

    def do(self, where: str, name: str, *args: Any, sender: str, value: int = 0) -> Result:
        """A transaction; remembers who acted, what moved by it, and whose balances it may lower."""
        self._expect_losses(where, name, args, sender)
        moods = {puppet: mood for puppet, mood in self.world.model.moods.items() if mood.to}
        for puppet, mood in moods.items():
            self._expect_losses(self.world.name_of(mood.to), mood.name, mood.args, puppet)
        self.acted |= {sender, *moods}
        self.sound = False
        result = self.world.do(where, name, *args, sender=sender, value=value)
        self.sound = True
        if result.refused is None:
            add(self.went_out, sender, value)
        self.seen[f"{name or 'a plain transfer'} {'is refused' if result.refused else 'succeeds'}"] += 1
        if result.refused:
            self.seen[f"error {result.refused[0]}"] += 1
        for address, event, said in result.told:
            self._witness(address, event, said, moods)
        if result.refused is None:
            self._accept(where, name, args, sender, result.value)
        return result

    def _witness(self, address: str, event: str, said: dict[str, Any], moods: dict[str, Mood]) -> None:
        """Remember what an event says."""
        self.seen[f"event {event}"] += 1
        if event == "ProviderStaked":
            self.stakes[self.world.name_of(address), said["provider"]] = said["amount"]
        elif event == "ProviderStakeReturned":
            add(self.came_in, said["provider"], self.stakes.pop((self.world.name_of(address), said["provider"])))
        elif event == "Refunded":
            add(self.came_in, said["user"], said["amount"])
        elif event in ("FundsTransferred", "FundsRetrieved", "FundSpent"):
            key = said["user"], self.world.name_of(said["service"])
            amount = said["amount"] if event == "FundsTransferred" else -said["amount"]
            self.elsewhere[key] = max(self.elsewhere.get(key, 0) + amount, 0)
        elif event == "CalledBack":
            mood = moods[address]
            if said["success"]:
                self.seen[f"{mood.name} called back"] += 1
                self._accept(self.world.name_of(mood.to), mood.name, mood.args, address, said["answer"])
            else:
                self.seen[f"error {said['answer'][0]}"] += 1

    def look(self, where: str, name: str, *args: Any, sender: str = "") -> Result:
        """A question."""
        result = self.world.look(where, name, *args, sender=sender)
        self.seen[f"{name} {'is refused' if result.refused else 'answers'}"] += 1
        if result.refused:
            self.seen[f"error {result.refused[0]}"] += 1
        return result

    # Users

    def open_ledger(self, user: str, amount: str, info: str) -> None:
        self.do(LEDGER, "addLedger", text(info), sender=user, value=self._deposit(user, amount))

    def deposit(self, payer: str, recipient: str, amount: str) -> None:
        value = self._deposit(recipient, amount)
        if payer == recipient:
            self.do(LEDGER, "depositFund", sender=payer, value=value)
        else:
            self.do(LEDGER, "depositFundFor", recipient, sender=payer, value=value)

    def describe(self, user: str, info: str) -> None:
        self.do(LEDGER, "updateAdditionalInfo", text(info), sender=user)

    def refund(self, user: str, amount: str) -> None:
        least = self.world.ledger().min_account
        self.do(LEDGER, "refund", AMOUNTS[amount](self._available(user), least), sender=user)

    def refund_all(self, user: str) -> None:
        self.do(LEDGER, "refundAll", sender=user)

    def delete_ledger(self, user: str) -> None:
        self.do(LEDGER, "deleteLedger", sender=user)

    def transfer(self, user: str, provider: str, service: str, amount: str) -> None:
        least = self.world.ledger().min_transfer
        wei = AMOUNTS[amount](self._available(user), least)
        self.do(LEDGER, "transferFund", provider, service, wei, sender=user)

    def transfer_what_waits(self, user: str, provider: str, service: str, more: int) -> None:
        """As much as is asked back, and a little more or less: the border between keeping and moving coins."""
        account = self.world.service(service).existing(user, provider)
        wei = max((account.pending if account else 0) + more, 0)
        self.do(LEDGER, "transferFund", provider, service, wei, sender=user)

    def retrieve(self, user: str, providers: Sequence[str], service: str) -> None:
        self.do(LEDGER, "retrieveFund", list(providers), service, sender=user)

    def split_refunds(self, user: str, provider: str, service: str, times: int) -> None:
        """Keep half of the newest refund and ask it back again: one more refund each time, until the queue is full."""
        for _ in range(times):
            account = self.world.service(service).existing(user, provider)
            if account is None or not account.refunds:
                return
            self.do(LEDGER, "transferFund", provider, service, account.refunds[-1].amount // 2, sender=user)
            self.do(LEDGER, "retrieveFund", [provider], service, sender=user)
            self.wait(1)

    def acknowledge(self, user: str, provider: str, service: str, *, accept: bool) -> None:
        self.do(service, "acknowledgeTEESigner", provider, accept, sender=user)

    def revoke_tokens(self, user: str, provider: str, service: str, tokens: list[int]) -> None:
        if len(tokens) == 1:
            self.do(service, "revokeToken", provider, tokens[0], sender=user)
        elif tokens:
            self.do(service, "revokeTokens", provider, tokens, sender=user)
        else:
            self.do(service, "revokeAllTokens", provider, sender=user)

    # Providers

    def register(self, provider: str, service: str, signer: str, stake: str, variant: int) -> None:
        """Register or update; a registered provider sends coins with odd variants, and is refused."""
        found = self.world.service(service)
        value = AMOUNTS[stake](2**99, found.min_stake)
        if provider in found.offers and variant % 2 == 0:
            value = 0
        if service in FINE_TUNINGS:
            odd = TUNING_TERMS[variant]
            quota = {"cpuCount": 1, "nodeMemory": 2, "gpuCount": 3, "nodeStorage": 4, "gpuType": "H200"}
            quota |= {key: text(odd[key]) for key in quota if key in odd}
            models = [text(model) for model in odd.get("models", ["model"])]
            url, price = text(odd.get("url", "https://0")), odd.get("price", 7)
            terms: tuple[Any, ...] = (url, quota, price, odd.get("occupied", False), models, signer)
        else:
            usual = {
                "serviceType": "chatbot",
                "url": "https://0",
                "model": "model",
                "verifiability": "TeeML",
                "inputPrice": 2,
                "outputPrice": 3,
                "additionalInfo": "",
            }
            changed = {key: text(value) for key, value in (usual | INFERENCE_TERMS[variant]).items()}
            terms = (changed | {"teeSignerAddress": signer},)
        self.do(service, "addOrUpdateService", *terms, sender=provider, value=value)

    def remove_service(self, provider: str, service: str) -> None:
        self.do(service, "removeService", sender=provider)

    def settle(self, service: str, sender: str, rows: Sequence[Row]) -> None:
        """Entries that follow each other as if all before them succeeded, each signed and perhaps spoilt."""
        ahead: dict[str, int] = {}
        entries = []
        for row in rows:
            entry = self._fee(service, sender, row, ahead) | {
                "provider": self._other(self.world.providers, row.provider, sender)
            }
            entry["signature"] = self._sign_settlement(service, sender, entry, row)
            entries.append(entry)
        preview = self.look(service, "previewSettlementResults", entries, sender=sender)
        result = self.do(service, "settleFeesWithTEE", entries, sender=sender)
        if result.refused is None:
            said = [args for _, event, args in result.events if event == "TEESettlementResult"]
            outcomes = list(zip(said, result.value, strict=False))  # a call back may have settled more, later
            failed = [(args["user"], status) for args, status in outcomes if status > 1]
            partly = [(args["user"], args["unsettledAmount"]) for args, status in outcomes if status == 1]
            assert preview.value == (*columns(failed), *columns(partly)), "the preview differs from the settlement"

    def settle_batch(self, service: str, sender: str, rows: Sequence[Row]) -> None:
        """The same under one signature; how the first row is signed and spoilt goes for all."""
        ahead: dict[str, int] = {}
        entries = [self._fee(service, sender, row, ahead) for row in rows]
        packed = [
            {
                "userAndFee": int(entry["user"], 16) << 96 | min(entry["totalFee"], 2**96 - 1),
                "nonce": entry["nonce"],
                "requestsHash": entry["requestsHash"],
            }
            for entry in entries
        ]
        signer, signature = "", b""
        if rows:
            signer = self._signer(rows[0], service, sender)
            contract = self.world.addresses[service]
            signature = self._sign(
                signer,
                digest(INFERENCE_NAME, contract, batch_hash(sender, packed)),
                rows[0].forgery,
                (contract, sender, tuple(tuple(sorted(row.items())) for row in packed)),
            )
        self.do(service, "settleBatchWithTEE", packed, signature, sender=sender)

    def replay(self, which: int, service: str, sender: str | None) -> None:
        """Send once more, word for word, what was settled before, perhaps to another contract, or by somebody else."""
        if self.settled:
            where, name, by, args = self.settled[which % len(self.settled)]
            if (service in INFERENCES) == (where in INFERENCES):
                where = service
            self.do(where, name, *args, sender=sender or by)

    def deliver(self, where: str, provider: str, user: str, name: str, root: str) -> None:
        self.do(where, "addDeliverable", user, text(name), text(root).encode(), sender=provider)

    def deliver_and_abandon(self, where: str, provider: str, user: str, count: int) -> None:
        """Work given up again and again, until the ring is full."""
        for number in range(count):
            name = f"abandoned {number} at {self.world.evm.time}"
            self.do(where, "addDeliverable", user, name, b"root", sender=provider)
            self.do(where, "abandonDeliverable", user, name, sender=provider)

    def deliver_and_accept(self, where: str, provider: str, user: str, count: int) -> None:
        """Work that is accepted and not settled, until the ring is full of it and the oldest cannot go."""
        for number in range(count):
            name = f"accepted {number} at {self.world.evm.time}"
            self.do(where, "addDeliverable", user, name, b"root", sender=provider)
            self.do(where, "acknowledgeDeliverable", provider, name, sender=user)

    def penalise_twice(self, where: str, provider: str, row: Row, between: str) -> None:
        """Two deliverables of a user who stays away, but for one act in between, or none."""
        user = self.world.users[row.user]
        for number in range(2):
            name = f"ignored {number} at {self.world.evm.time}"
            self.deliver(where, provider, user, name, "root")
            self.settle_task(where, provider, row, name, "", "root")
            if between == "acknowledge":
                self.acknowledge(user, provider, where, accept=True)
            elif between == "transfer":
                self.do(LEDGER, "transferFund", provider, where, 0, sender=user)
            elif between == "accept":
                self.deliver(where, provider, user, f"accepted at {self.world.evm.time}", "root")
                self.accept_deliverable(where, user, provider, f"accepted at {self.world.evm.time}")

    def accept_deliverable(self, where: str, user: str, provider: str, name: str) -> None:
        self.do(where, "acknowledgeDeliverable", provider, text(name), sender=user)

    def abandon(self, where: str, provider: str, user: str, name: str) -> None:
        self.do(where, "abandonDeliverable", user, text(name), sender=provider)

    def settle_task(self, where: str, sender: str, row: Row, name: str, secret_text: str, root_text: str) -> None:
        name, secret, root = text(name), text(secret_text).encode(), text(root_text).encode()
        fee = self._fee(where, sender, row, {})
        task = {
            "id": name,
            "encryptedSecret": secret,
            "modelRootHash": root,
            "nonce": fee["nonce"],
            "taskFee": fee["totalFee"],
            "user": fee["user"],
        }
        contract = self.world.addresses[row.contract if row.contract in FINE_TUNINGS else where]
        task["signature"] = self._sign(
            self._signer(row, where, sender),
            digest(FINE_TUNING_NAME, contract, verifier_hash(task)),
            row.forgery,
            (contract, name, secret, root, task["nonce"], task["taskFee"], task["user"]),
        )
        self.do(where, "settleFees", task, sender=sender)

    def agree(self, user: str, provider: str, where: str) -> None:
        """Whatever is missing between the two: registration, the owner's confirmation, an account with money in it."""
        service = self.world.service(where)
        signer = next(iter(self.world.tee_signers))
        if provider not in service.offers:
            self.register(provider, where, signer, "least", 1)
        offer = service.offers.get(provider)
        if offer is not None and not offer.confirmed:
            self.confirm(self.owner_of(where), provider, where, None)
        self.deposit(user, user, "5 least")
        self.transfer(user, provider, where, "5 least")

    def open_many(self, user: str, where: str, count: int) -> None:
        """Accounts with `count` providers that nobody has heard of, until there may be no more."""
        least = self.world.ledger().min_transfer
        self.do(LEDGER, "depositFund", sender=user, value=count * least)
        for number in range(count):
            provider = to_checksum_address((2**100 + number).to_bytes(20, "big"))
            self.do(LEDGER, "transferFund", provider, where, least, sender=user)

    def waiting_refunds(self) -> list[tuple[str, str, str]]:
        """User, provider and service of every account with a refund that waits."""
        return [
            (user, provider, where)
            for where in ALL_SERVICES
            for user, provider in self.world.service(where).all
            if self.world.service(where).accounts[user, provider].refunds
        ]

    def waiting_deliverables(self) -> list[tuple[str, int, str, str, str]]:
        """Service, number of the user, provider, id and root hash of everything that is delivered and not settled."""
        return [
            (where, self.world.users.index(user), provider, one.id, one.root.decode())
            for where in FINE_TUNINGS
            for user, provider in self.world.service(where).all
            for one in self.world.service(where).accounts[user, provider].deliverables
            if not one.settled
        ]

    def ask_back(self, user: str, where: str) -> tuple[list[str], int]:
        """Ask everything back, after what can be had at once. Returns of whom, and how much."""
        if user in self.world.puppets():
            self.set_mood(user, None)
        self.refund_all(user)  # a full ledger takes nothing back from the services
        providers = self.providers_of(user, where)
        self.retrieve(user, providers, where)
        self.settled_since[where, user] = 0
        return providers, self._asked_back(user, where, providers)

    def take_home(self, user: str, where: str, providers: list[str], asked: int) -> None:
        """Wait for the lock time: all that was asked back comes home, less what was settled meanwhile."""
        still = self._asked_back(user, where, providers)
        less = self.settled_since.pop((where, user))
        assert asked - still <= less, f"{asked} wei asked back became {still}, with {less} settled"
        self.refund_all(user)
        self.wait(self.world.ask(where, "lockTime"))
        if still:
            before = self._listed_as_available(user)
            result = self.do(LEDGER, "retrieveFund", providers, where, sender=user)
            assert result.refused is None, f"what was asked back cannot be had: {result.refused}"
            assert self._listed_as_available(user) - before == still, "not what was asked back came home"

    def _asked_back(self, user: str, where: str, providers: list[str]) -> int:
        """As the chain says it."""
        listed = self.world.accounts(where)
        return sum(one["pendingRefund"] for one in listed if one["user"] == user and one["provider"] in providers)

    def _listed_as_available(self, user: str) -> int:
        available: int = next(one["availableBalance"] for one in self.world.ledgers() if one["user"] == user)
        return available

    def providers_of(self, user: str, where: str) -> list[str]:
        """The providers that a user has an account with, at most 20."""
        return self.world.service(where).by_user.get(user, [])[:20]

    # Services that others wrote

    def register_service(self, sender: str, name: str, oddity: str) -> None:
        kind, version = name.rsplit("-", 1)
        odd = ODDITIES[oddity]
        described = [kind, version, name, "written by others"]
        for place, value in odd.items():
            described[place] = value
        address = described[2]
        described[2] = self.world.users[0] if address == "wallet" else self.world.addresses.get(address, address)
        self.do(LEDGER, "registerService", *(text(one) for one in described), sender=sender)

    def use_foreign(self, user: str, provider: str, name: str, amount: str) -> None:
        """Money there, and an attempt to get it back."""
        least = self.world.ledger().min_transfer
        wei = AMOUNTS[amount](self._available(user), least)
        self.do(LEDGER, "transferFund", provider, name, wei, sender=user)
        for _ in range(2):
            self.do(LEDGER, "retrieveFund", [provider], name, sender=user)

    def behave(self, name: str, manner: int, victim: str, amount: str) -> None:
        self.do(name, "behave", manner, victim, self._kept(victim, name, amount), sender=self.world.stranger)

    def spend(self, name: str, user: str, provider: str, amount: str) -> None:
        """A foreign service pays somebody who is not in the game."""
        foreigner, wei = self.world.upgrade_owner, self._kept(user, name, amount)
        if self.do(name, "spend", user, provider, wei, sender=foreigner).refused is None:
            add(self.came_in, foreigner, wei)

    def _kept(self, user: str, name: str, amount: str) -> int:
        service = self.world.model.contracts[self.world.addresses[name]]
        assert isinstance(service, Foreign)
        return AMOUNTS[amount](max((one for pair, one in service.balances.items() if pair[0] == user), default=0), COIN)

    # Owners, the chain, and those with no business here

    def owner_of(self, where: str) -> str:
        """The owner, or a stranger when there is none any more."""
        owner = self.world.model.contracts[self.world.addresses[where]].owner
        return owner if owner != ZERO else self.world.stranger

    def confirm(self, sender: str, provider: str, service: str, expected: str | None) -> None:
        more = () if expected is None else (expected,)
        self.do(service, "acknowledgeTEESignerByOwner", provider, *more, sender=sender)

    def withdraw_confirmation(self, sender: str, provider: str, service: str) -> None:
        self.do(service, "revokeTEESignerAcknowledgement", provider, sender=sender)

    def set_lock_time(self, sender: str, service: str, seconds: int) -> None:
        self.do(service, "updateLockTime", seconds, sender=sender)

    def set_penalty(self, sender: str, where: str, percentage: int) -> None:
        self.do(where, "updatePenaltyPercentage", percentage, sender=sender)

    def recommend(self, sender: str, kind: str, version: str) -> None:
        self.do(LEDGER, "setRecommendedService", kind, version, sender=sender)

    def hand_over(self, where: str, sender: str, step: str, to: str) -> None:
        arguments = () if step in ("acceptOwnership", "renounceOwnership") else (to,)
        self.do(where, step, *arguments, sender=sender)

    def intrude(self, sender: str, service: str, name: str, user: str, provider: str) -> None:
        """Somebody calls what only the ledger or a service may call."""
        arguments: dict[str, tuple[str, tuple[Any, ...]]] = {
            "addAccount": (service, (user, provider, "")),
            "depositFund": (service, (user, provider, 1)),
            "deleteAccount": (service, (user, provider)),
            "processRefund": (service, (user, provider)),
            "requestRefundAll": (service, (user, provider)),
            "spendFund": (LEDGER, (user, 1)),
            "initialize": (service, (3600, sender, sender, *([1] if service in FINE_TUNINGS else []))),
            "a plain transfer": (service, ()),
        }
        where, args = arguments[name]
        self.do(where, "" if name == "a plain transfer" else name, *args, sender=sender)

    def intrude_ledger(self, sender: str, name: str) -> None:
        if name == "initialize":
            self.do(LEDGER, name, sender, sender=sender)
        else:
            self.do(LEDGER, "", sender=sender, value=1)

    def upgrade(self, sender: str, where: str, which: int) -> None:
        """Which of the two implementations, or the third: what is no contract."""
        implementation = [*self.world.implementations[where], self.world.users[0]][which]
        self.do(BEACONS[where], "upgradeTo", implementation, sender=sender)

    def force_coins(self, where: str, amount: int) -> None:
        self.world.force_coins(where, amount)
        self.forced[where] = self.forced.get(where, 0) + amount

    def wait(self, seconds: int) -> None:
        self.world.wait(seconds)

    def set_mood(self, puppet: str, mood: Mood | None) -> None:
        self.world.set_mood(puppet, mood)

    def mood_to_settle_again(self, puppet: str, which: int) -> Mood | None:
        """To send, from within a payout, what was settled before."""
        mine = [(where, name, args) for where, name, sender, args in self.settled if sender == puppet]
        if not mine:
            return None
        where, name, args = mine[which % len(mine)]
        return Mood(to=self.world.addresses[where], name=name, args=args)

    # How entries are made

    def _fee(self, service: str, provider: str, row: Row, ahead: dict[str, int]) -> dict[str, Any]:
        user = self.world.users[row.user]
        account = self.world.service(service).accounts.get((user, provider))
        balance, nonce = (account.balance, account.nonce) if account else (COIN, 0)
        nonce = NONCES[row.nonce](ahead.get(user, nonce))
        ahead[user] = nonce
        fee = AMOUNTS[row.fee](balance, COIN)
        return {"user": user, "totalFee": fee, "nonce": nonce, "requestsHash": bytes([nonce % 256]) * 32}

    def _sign_settlement(self, service: str, sender: str, entry: dict[str, Any], row: Row) -> bytes:
        contract = self.world.addresses[row.contract if row.contract in INFERENCES else service]
        signer = self._signer(row, service, sender)
        message = (contract, entry["provider"], entry["user"], entry["totalFee"], entry["nonce"], entry["requestsHash"])
        return self._sign(signer, digest(INFERENCE_NAME, contract, settlement_hash(entry)), row.forgery, message)

    def _sign(self, signer: str, digest_: bytes, forgery: str, message: Any) -> bytes:
        signature = self.world.tee_signers[signer].sign(digest_)
        self.world.model.signed[signature] = (signer, message)
        return FORGERIES[forgery](signature)

    def _signer(self, row: Row, service: str, provider: str) -> str:
        """Who signs: as the row says, or whom the provider has registered."""
        offer = self.world.service(service).offers.get(provider)
        if offer is not None and offer.signer in self.world.tee_signers:
            registered = offer.signer
        else:
            registered = next(iter(self.world.tee_signers))
        return self._other(list(self.world.tee_signers), row.signer, registered)

    @staticmethod
    def _other(people: Sequence[str], number: int | None, usual: str) -> str:
        return usual if number is None else people[number]

    # What has to be remembered

    def _accept(self, where: str, name: str, args: tuple[Any, ...], provider: str, answer: Any) -> None:
        """Remember a settlement and which nonces it used up; fails when one is accepted for the second time."""
        if name not in SETTLEMENTS:
            return
        if (where, name, provider, args) not in self.settled:
            self.settled.append((where, name, provider, args))
        claims = self._claims(where, name, args, provider)
        if name == "settleFees":
            answer = [0]
        elif name == "settleBatchWithTEE":
            answer = [answer[at // 64] >> 4 * (at % 64) & 15 for at in range(len(claims))]
        for (user, fee, nonce, _, _), status in zip(claims, answer, strict=True):
            self.seen[f"status {status} of {name}"] += 1
            if status < 2:
                accepted = (where, user, provider), nonce
                assert accepted not in self.accepted, "a nonce was accepted twice"
                self.accepted.add(accepted)
                add(self.signed_away, provider, fee)
                if (where, user) in self.settled_since:
                    self.settled_since[where, user] += fee

    def _expect_losses(self, where: str, name: str, args: tuple[Any, ...], sender: str) -> None:
        """Whose balances a call may lower, and by how much: what is signed by a signer whom user and owner confirmed,
        and what a user takes home."""
        if name == "retrieveFund" and args[1] in ALL_SERVICES:
            for provider in args[0]:
                self.may_lose[args[1], sender, provider] = MAX_AVAILABLE
        elif name in SETTLEMENTS:
            for user, fee, _, message, signature in self._claims(where, name, args, sender):
                service = self.world.service(where)
                account, offer = service.existing(user, sender), service.offers.get(sender)
                if not (account and account.acknowledged and offer and offer.confirmed):
                    continue
                if self.world.model.signed_by(offer.signer, message, signature):
                    key = where, user, sender
                    self.may_lose[key] = self.may_lose.get(key, 0) + fee

    def _claims(
        self, where: str, name: str, args: tuple[Any, ...], sender: str
    ) -> list[tuple[str, int, int, Any, bytes]]:
        """User, fee, nonce, message and signature of everything that a settlement claims."""
        contract = self.world.addresses[where]
        if name == "settleFees":
            task = args[0]
            parts = ("id", "encryptedSecret", "modelRootHash", "nonce", "taskFee", "user")
            message: tuple[Any, ...] = (contract, *(task[part] for part in parts))
            return [(task["user"], task["taskFee"], task["nonce"], message, task["signature"])]
        if name == "settleFeesWithTEE":
            return [
                (
                    entry["user"],
                    entry["totalFee"],
                    entry["nonce"],
                    (contract, sender, *(entry[part] for part in ("user", "totalFee", "nonce", "requestsHash"))),
                    entry["signature"],
                )
                for entry in args[0]
            ]
        rows, signature = args
        message = (contract, sender, tuple(tuple(sorted(row.items())) for row in rows))
        return [(*unpack_row(row["userAndFee"]), row["nonce"], message, signature) for row in rows]

    def _deposit(self, user: str, amount: str) -> int:
        return AMOUNTS[amount](self._available(user), self.world.ledger().min_account)

    def _available(self, user: str) -> int:
        ledger = self.world.ledger().users.get(user)
        return ledger.available if ledger else 0
