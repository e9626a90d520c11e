# SPDX-License-Identifier: Apache-2.0
"""The real contracts behind their real fronts, the same network as a model, and the people who use both.

Every transaction goes through `World.do`, which runs it on both sides and compares what it returned, emitted and
refused. `World.compare` compares every balance and everything that the contracts list; `World.compare_views` asks every
view about everybody.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache, lru_cache
from pathlib import Path
from typing import Any
from warnings import catch_warnings, simplefilter

from serving_network.contracts import Interface, load
from tests.evm import GAS_LIMIT, Evm, Outcome
from tests.shared import compile_contract
from tests.stateful.foreign import Foreign
from tests.stateful.model import ZERO, Beacon, FineTuning, Inference, Ledger, Mood, Network, Reason, Registered, Result
from tests.stateful.signing import Signer
from tests.unit.contract import COIN, create

HERE = Path(__file__).parent
RICH = 2**100
LONGEST_MESSAGE = 1000
LEDGER, INFERENCE, OTHER_INFERENCE = "ledger", "inference-v1.0", "inference-v2.0"
FINE_TUNING, OTHER_FINE_TUNING = "fine-tuning-v1.1", "fine-tuning-v2.0"
INFERENCES, FINE_TUNINGS = (INFERENCE, OTHER_INFERENCE), (FINE_TUNING, OTHER_FINE_TUNING)
ALL_SERVICES = (*INFERENCES, *FINE_TUNINGS)
# Without the second fine-tuning: what the attacks are about.
SERVICES = (INFERENCE, OTHER_INFERENCE, FINE_TUNING)
ARTIFACTS = {
    LEDGER: "LedgerManager",
    INFERENCE: "InferenceServing",
    OTHER_INFERENCE: "InferenceServing",
    FINE_TUNING: "FineTuningServing",
    OTHER_FINE_TUNING: "FineTuningServing",
}
# Services that others wrote: without a book, and with one. Nobody has registered them at first.
FOREIGN_WITHOUT_BOOK, FOREIGN_WITH_BOOK = "foreign-v1", "foreign-v2"
FOREIGNERS = (FOREIGN_WITHOUT_BOOK, FOREIGN_WITH_BOOK)
BEACONS = {name: f"beacon of {name}" for name in ARTIFACTS}
# What the constructors get: minimums of the ledger, least stake of a service. The second is what an upgrade brings.
SETTINGS: dict[str, tuple[dict[str, int], dict[str, int]]] = {
    LEDGER: (
        {"min_account": 3 * COIN, "min_transfer": COIN},
        {"min_account": 2 * COIN, "min_transfer": 2 * COIN},
    ),
    INFERENCE: ({"min_stake": 100 * COIN}, {"min_stake": 50 * COIN}),
    OTHER_INFERENCE: ({"min_stake": 100 * COIN}, {"min_stake": 50 * COIN}),
    FINE_TUNING: ({"min_stake": 100 * COIN}, {"min_stake": 150 * COIN}),
    OTHER_FINE_TUNING: ({"min_stake": 100 * COIN}, {"min_stake": 150 * COIN}),
}
# What asks only for a part of the contract's own state: the model's name for it.
PLAIN = {
    "owner": "owner",
    "pendingOwner": "pending_owner",
    "implementation": "implementation",
    "front": "front",
    "lockTime": "lock_time",
    "ledgerAddress": "ledger",
    "penaltyPercentage": "penalty",
    "MIN_PROVIDER_STAKE": "min_stake",
    "MIN_ACCOUNT_BALANCE": "min_account",
    "MIN_TRANSFER_AMOUNT": "min_transfer",
}
# What never changes.
CONSTANTS = {
    "initialized": True,
    "MAX_SERVICES": 500,
    "MAX_PROVIDERS_PER_BATCH": 20,
    "MAX_PROVIDERS_PER_USER_PER_SERVICE": 50,
    "MAX_ADDITIONAL_INFO_LENGTH": 4096,
    "MIN_LOCKTIME": 3600,
    "MAX_LOCKTIME": 604_800,
}
SUPPORTED = {bytes.fromhex("01ffc9a7"), bytes.fromhex("160841b1"), bytes.fromhex("1ffc15d2")}
LONG_ID = "x" * 257
CENSUS_GAS = 2 * GAS_LIMIT
CENSUS_SIZE = 10
# Takes questions (address and length of a word each, then calldata), asks each as a static call, and returns for each
# whether it answered, the length of the answer in a word, and the answer. The stack is (place, length of all answers).
#   loop: stop at the end of calldata; copy calldata to memory, call, write success and length, copy the answer
CENSUS = bytes.fromhex(
    "5f5f5b813614603d578160200135808360400183375f5f828486355afa82523d82602001523d5f836040013e"
    "8083016040019250503d016040016002565b5ff3"
)
Question = tuple[str, str, tuple[Any, ...]]


INTERFACES = {name: load(artifact).interface for name, artifact in ARTIFACTS.items()}


class World:
    """Five contracts, two foreign ones and eleven people on one EVM, after deployment; `reset` comes back to it."""

    def __init__(self, evm: Evm) -> None:
        self.evm = evm
        self.owner = evm.account("owner", coins=RICH)
        self.upgrade_owner = evm.account("upgrade owner", coins=RICH)
        self.stranger = evm.account("stranger", coins=RICH)
        self._operator = evm.account("operator", coins=RICH)
        self._puppets = {self._create(compiled("Puppet")[0]): None for _ in range(2)}
        for puppet in self._puppets:
            evm.set_balance(puppet, RICH)
        user_puppet, provider_puppet = self._puppets
        self.users = [evm.account("user", coins=RICH), evm.account("user", coins=RICH), user_puppet]
        self.providers = [evm.account("provider", coins=RICH), provider_puppet]
        self.people = [*self.users, *self.providers, self.owner, self.upgrade_owner, self.stranger]
        self.tee_signers: dict[str, Signer] = {signer.address: signer for signer in (Signer(1), Signer(2), Signer(3))}
        self.addresses: dict[str, str] = {}
        self.names: dict[str, str] = {}
        self._beacons: dict[str, str] = {}
        self.implementations: dict[str, list[str]] = {}
        prefix = bytes.fromhex(f"60{len(CENSUS):02x}600c60003960{len(CENSUS):02x}6000f3")
        self._census = self._create(prefix + CENSUS)
        self._deploy()
        self._mark = evm.snapshot()
        self._answers: dict[Question, Any] = {}
        self._stirred: set[str] = set(self.addresses)
        self.changes = 0
        """Counts the transactions that have succeeded."""
        self.model = self._new_model()

    # Deployment

    def _create(self, code: bytes) -> str:
        created = self.evm.deploy(code, sender=self._operator).created
        assert created is not None
        return created

    def _deploy(self) -> None:
        front = load("BeaconProxy")
        beacon_interface = load("UpgradeableBeacon").interface
        for name, artifact in ARTIFACTS.items():
            settings = [tuple(setting.values()) for setting in SETTINGS[name]]
            made = [create(self.evm, artifact, *setting, sender=self.upgrade_owner) for setting in settings]
            self.implementations[name] = made
            beacon = create(self.evm, "UpgradeableBeacon", made[0], sender=self.upgrade_owner)
            ledger = self.addresses.get(LEDGER, ZERO)
            arguments = (86_400, ledger, self.owner, *([30] if name in FINE_TUNINGS else []))
            data = INTERFACES[name].encode("initialize", *((self.owner,) if name == LEDGER else arguments))
            created = self.evm.deploy(front.creation_code(beacon, data), sender=self.upgrade_owner).created
            assert created is not None
            self._name(name, created)
            self._name(BEACONS[name], beacon)
            self._beacons[name] = beacon
            attach = beacon_interface.encode("attach", created)
            assert self.evm.send(beacon, attach, sender=self.upgrade_owner).success
        for name in ALL_SERVICES:
            kind, version = name.rsplit("-", 1)
            data = INTERFACES[LEDGER].encode("registerService", kind, version, self.addresses[name], "")
            assert self.evm.send(self.addresses[LEDGER], data, sender=self.owner).success
        ledger = self.addresses[LEDGER]
        for name in FOREIGNERS:
            given = int(ledger, 16).to_bytes(32, "big") + int(name == FOREIGN_WITH_BOOK).to_bytes(32, "big")
            self._name(name, self._create(compiled("Foreign")[0] + given))
        self.deployed_at = self.evm.time

    def _name(self, name: str, address: str) -> None:
        self.addresses[name] = address
        self.names[address] = name

    def _new_model(self) -> Network:
        model = Network(self.evm.time)
        ledger = self.addresses[LEDGER]
        registered = {}
        for name in ALL_SERVICES:
            kind, version = name.rsplit("-", 1)
            registered[name] = Registered(self.addresses[name], kind, version, "", self.deployed_at)
        model.add(Ledger(ledger, self.owner, services=registered))
        for name in ALL_SERVICES:
            made = FineTuning if name in FINE_TUNINGS else Inference
            model.add(made(self.addresses[name], self.owner, ledger=ledger))
        for name in FOREIGNERS:
            model.add(Foreign(self.addresses[name], ZERO, ledger=ledger, book=name == FOREIGN_WITH_BOOK))
        for name, beacon in BEACONS.items():
            settings = dict(zip(self.implementations[name], SETTINGS[name], strict=True))
            address, front, code = self.addresses[beacon], self.addresses[name], self.implementations[name][0]
            model.add(Beacon(address, self.upgrade_owner, front=front, implementation=code, settings=settings))
        for person in self.people:
            model.coins[person] = self.evm.balance(person)
        return model

    def reset(self) -> None:
        """Back to the moment after deployment, on both sides."""
        self._answers.clear()
        self._stirred = set(self.addresses)
        self.evm.revert(self._mark)
        self.model = self._new_model()

    # What people do

    def do(self, where: str, name: str, *args: Any, sender: str, value: int = 0) -> Result:
        """One transaction on both sides; fails the test where they differ. No name is a plain transfer."""
        to = self.addresses[where]
        said = f"{where}.{name}{args}"[:LONGEST_MESSAGE]
        moods = dict(self.model.moods)
        outcome = self._send(to, interface(where).encode(name, *args) if name else b"", sender, value)
        expected = self.model.transact(to, name, *args, sender=sender, value=value)
        if not outcome.success:
            reason = _reason(where, outcome.output)
            assert reason == expected.refused, f"refused with {reason}, not {expected.refused}: {said}"
            return expected
        self._stir(where, outcome)
        assert expected.refused is None, f"not refused with {expected.refused}: {said}"
        assert interface(where).decode_result(name, outcome.output) == expected.value, said
        assert [self._event(log, moods) for log in outcome.logs] == expected.told, said
        return expected

    def _stir(self, where: str, outcome: Outcome) -> None:
        """Note what a transaction that succeeded may have changed: what it was sent to, and what that may have called.

        Only the ledger and the wallets call other contracts that keep anything; a front is changed by its beacon.
        """
        touched = set(self.addresses)
        if where in ALL_SERVICES and not any(log.address in self._puppets for log in outcome.logs):
            touched = {where, LEDGER}
        self._stirred |= touched
        self.changes += 1
        for question in [one for one in self._answers if one[0] in touched]:
            del self._answers[question]

    def look(self, where: str, name: str, *args: Any, sender: str = "") -> Result:
        """One question to both sides; fails the test where the answers differ, or the refusals."""
        said = f"{where}.{name}{args}"[:LONGEST_MESSAGE]
        expected = self._expected(where, name, args, sender or self.stranger)
        outcome = self._view(where, name, args, sender or self.stranger)
        if not outcome.success:
            reason = _reason(where, outcome.output)
            assert reason == expected.refused, f"refused with {reason}, not {expected.refused}: {said}"
            return expected
        assert expected.refused is None, f"not refused with {expected.refused}: {said}"
        answer = _decoded(where, name, outcome.output)
        assert answer == expected.value, f"{answer}, not {expected.value}: {said}"
        return expected

    def ask(self, where: str, name: str, *args: Any) -> Any:
        """What a contract answers; asked once until the next transaction."""
        question = where, name, args
        if question not in self._answers:
            outcome = self.evm.view(self.addresses[where], _encoded(where, name, args), sender=self.stranger)
            assert outcome.success, f"{where}.{name}{args}: {outcome.output.hex()}"
            self._answers[question] = _decoded(where, name, outcome.output)
        return self._answers[question]

    def look_at_all(self, questions: Iterable[Question]) -> None:
        """Many questions to both sides, a few dozen in each call of the EVM."""
        asked = list(questions)
        for start in range(0, len(asked), CENSUS_SIZE):
            self._look_at(asked[start : start + CENSUS_SIZE])

    def _look_at(self, asked: Sequence[Question]) -> None:
        data = b"".join(_asked(self.addresses[where], _encoded(where, name, args)) for where, name, args in asked)
        outcome = self.evm.view(self._census, data, sender=self.stranger, gas=CENSUS_GAS)
        assert outcome.success, "the census failed"
        at = 0
        for question in asked:
            answered, length = outcome.output[at + 31], int.from_bytes(outcome.output[at + 32 : at + 64], "big")
            output = outcome.output[at + 64 : at + 64 + length]
            at += 64 + length
            expected = self._expected(*question, self._census)
            if answered:
                where, name, _ = question
                answer = _decoded(where, name, output)
                assert (answer, None) == (expected.value, expected.refused), question
                self._answers[question] = answer
            else:
                assert _reason(question[0], output) == expected.refused, question
        assert at == len(outcome.output)

    def _expected(self, where: str, name: str, args: tuple[Any, ...], sender: str) -> Result:
        if name in CONSTANTS:
            return Result(CONSTANTS[name], [])
        if name == "supportsInterface":
            return Result(args[0] in SUPPORTED, [])
        to = self.addresses[where]
        if name in PLAIN:
            return Result(getattr(self.model.contracts[to], PLAIN[name]), [])
        return self.model.look(to, name, *args, sender=sender)

    def _view(self, where: str, name: str, args: tuple[Any, ...], sender: str) -> Outcome:
        to, data = self.addresses[where], interface(where).encode(name, *args)
        if sender in self._puppets:
            to, data, sender = sender, compiled("Puppet")[1].encode("run", to, 0, data), self._operator
        return self.evm.view(to, data, sender=sender)

    def wait(self, seconds: int) -> None:
        self.evm.time += seconds
        self.model.now += seconds

    def force_coins(self, where: str, amount: int) -> None:
        """By a contract that destroys itself in favour of this one while it is created."""
        to = self.addresses[where]
        destroy_in_favour = bytes.fromhex(f"73{to[2:]}ff")
        with catch_warnings():
            simplefilter("ignore", DeprecationWarning)  # py-evm's, about self-destruction
            assert self.evm.deploy(destroy_in_favour, sender=self._operator, value=amount).success
        self.changes += 1
        self.model.coins[to] += amount

    def set_mood(self, puppet: str, mood: Mood | None) -> None:
        """Decide what a wallet that is a contract does with the next coins; None to accept them."""
        target, data = ZERO, b""
        if mood is not None and mood.to:
            target, data = mood.to, interface(self.names[mood.to]).encode(mood.name, *mood.args)
        plan = compiled("Puppet")[1].encode("plan", mood is not None and mood.refuses, target, data)
        assert self.evm.send(puppet, plan, sender=self._operator).success
        self.model.moods.pop(puppet, None)
        if mood is not None:
            self.model.moods[puppet] = mood

    def puppets(self) -> Sequence[str]:
        return list(self._puppets)

    def upgrade(self, where: str, which: int) -> None:
        """Give a front the first implementation or the second, whose minimums differ."""
        self.do(BEACONS[where], "upgradeTo", self.implementations[where][which], sender=self.upgrade_owner)

    # What there is to see

    def ledger(self) -> Ledger:
        found = self.model.contracts[self.addresses[LEDGER]]
        assert isinstance(found, Ledger)
        return found

    def service(self, where: str) -> Inference | FineTuning:
        found = self.model.contracts[self.addresses[where]]
        assert isinstance(found, Inference | FineTuning)
        return found

    def tuning(self, where: str) -> FineTuning:
        found = self.service(where)
        assert isinstance(found, FineTuning)
        return found

    def name_of(self, address: str) -> str:
        return self.names[address]

    def preview(
        self, where: str, entries: list[dict[str, Any]], sender: str
    ) -> tuple[list[tuple[str, int]], list[tuple[str, int]]]:
        """Who would fail and why, and who would be paid in part, with what stays unsettled."""
        answer = self.look(where, "previewSettlementResults", entries, sender=sender).value
        failed, reasons, partly, missing = answer
        return list(zip(failed, reasons, strict=True)), list(zip(partly, missing, strict=True))

    def coins(self, where: str) -> int:
        return self.evm.balance(self.addresses[where])

    def ledgers(self) -> list[dict[str, Any]]:
        """Every ledger, as the chain lists it."""
        return self._all(LEDGER, "getAllLedgers")

    def accounts(self, where: str) -> list[dict[str, Any]]:
        """Every account of a service, as the chain lists it."""
        listed = self._all(where, "getAllAccounts")
        if where in FINE_TUNINGS:
            return [self.ask(where, "getAccount", one["user"], one["provider"]) for one in listed]
        return listed

    def _all(self, where: str, name: str) -> list[dict[str, Any]]:
        page, total = self.ask(where, name, 0, 0)
        found = list(page)
        while len(found) < total:
            found += self.ask(where, name, len(found), 0)[0]
        return found

    def compare(self) -> None:
        """Every coin, ledger, account, registration and setting is what the model says.

        A contract that no transaction has reached since it was last compared is not asked again.
        """
        for address, coins in self.model.coins.items():
            assert self.evm.balance(address) == coins, f"coins of {self.names.get(address, address)}"
        self.look_at_all(one for one in self._lists() if one[0] in self._stirred)
        self._stirred.clear()

    def compare_views(self, among: Sequence[str]) -> None:
        """Every view of some contracts, about everybody."""
        self.look_at_all(self._everything(among))
        for where in (one for one in ALL_SERVICES if one in among):
            for provider in (self.providers[0], self.users[1]):
                self.look(where, "getBatchAccountsByUsers", [*self.users, self.stranger], sender=provider)

    def _lists(self) -> Iterable[Question]:
        yield LEDGER, "getAllLedgers", (0, 0)
        yield LEDGER, "getActiveServices", (0, 0)
        for where in ALL_SERVICES:
            for offset in range(0, max(len(self.service(where).all), 1), 50):
                yield where, "getAllAccounts", (offset, 0)
            yield where, "getServices" if where in FINE_TUNINGS else "getAllServices", (0, 0)
            yield where, "lockTime", ()
        for where in FINE_TUNINGS:
            yield where, "penaltyPercentage", ()
            for user, provider in self.service(where).all:
                yield where, "getAccount", (user, provider)
        for where in (*ARTIFACTS, *BEACONS.values()):
            yield where, "owner", ()
            yield where, "pendingOwner", ()

    def _everything(self, among: Sequence[str]) -> Iterable[Question]:
        """Every view with no argument, and all others about everybody, and about nobody."""
        if LEDGER in among:
            yield from self._everything_in_the_ledger()
        for where in ALL_SERVICES:
            if where in among:
                yield from self._everything_about(where)

    def _everything_in_the_ledger(self) -> Iterable[Question]:
        for where in (LEDGER, *BEACONS.values()):
            for name in views_without_arguments(where):
                yield where, name, ()
        ledger = self.ledger()
        kinds = {(one.kind, one.version) for one in ledger.services.values()}
        for kind, version in sorted(kinds | {("fine", "tuning-v1.1"), ("nothing", "v1.0")}):
            yield LEDGER, "getServiceAddressByName", (f"{kind}-{version}",)
            yield LEDGER, "isRecommendedVersion", (kind, version)
        for kind in sorted({kind for kind, _ in kinds} | {"nothing"}):
            yield LEDGER, "getAllVersions", (kind,)
            yield LEDGER, "getVersionsPaged", (kind, 1, 2)
            yield LEDGER, "getRecommendedService", (kind,)
        for address in (*(self.addresses[name] for name in (*ALL_SERVICES, *FOREIGNERS)), ZERO):
            yield LEDGER, "getServiceInfo", (address,)
        for user in (*self.users, self.stranger):
            yield LEDGER, "getLedger", (user,)
            for name in (*ALL_SERVICES, *FOREIGNERS):
                yield LEDGER, "getLedgerProviders", (user, name)

    def _everything_about(self, where: str) -> Iterable[Question]:
        service = self.service(where)
        for name in views_without_arguments(where):
            yield where, name, ()
        for asked in (*sorted(SUPPORTED), bytes.fromhex("ffffffff")):
            yield where, "supportsInterface", (asked,)
        for provider in (*self.providers, self.users[1], self.stranger):
            yield where, "getService", (provider,)
            yield where, "getAccountsByProvider", (provider, 0, 0)
            if where in INFERENCES:
                yield where, "serviceExists", (provider,)
        for user in (*self.users, self.stranger):
            for name in ("lockedBalance", "providerCount", "providersOf"):
                yield where, name, (user,)
            yield where, "getAccountsByUser", (user, 0, 0)
        nobody = (self.stranger, self.providers[0])
        for user, provider in (*service.all, nobody):
            for name in ("accountExists", "getPendingRefund", "getAccount"):
                yield where, name, (user, provider)
            if where in INFERENCES:
                for token in (0, 199, 200, 255):
                    yield where, "isTokenRevoked", (user, provider, token)
            else:
                yield where, "getDeliverables", (user, provider)
                account = service.accounts.get((user, provider))
                kept = [one.id for one in account.deliverables[-2:]] if account else []
                for identifier in (*kept, "never delivered", LONG_ID):
                    yield where, "getDeliverable", (user, provider, identifier)

    def _send(self, to: str, data: bytes, sender: str, value: int) -> Outcome:
        if sender not in self._puppets:
            return self.evm.send(to, data, sender=sender, value=value)
        run = compiled("Puppet")[1].encode("run", to, value, data)
        return self.evm.send(sender, run, sender=self._operator)

    def _event(self, log: Any, moods: dict[str, Mood]) -> tuple[str, str, dict[str, Any]]:
        """An event; of a wallet that called back, what it was answered."""
        known = compiled("Puppet")[1] if log.address in self._puppets else interface(self.names[log.address])
        found = known.decode_event(log.address, log.topics, log.data)
        assert found is not None, "an event that the ABI does not declare"
        if log.address in self._puppets:
            mood, answer = moods[log.address], found.args["answer"]
            if found.args["success"]:
                found.args["answer"] = interface(self.names[mood.to]).decode_result(mood.name, answer)
            else:
                found.args["answer"] = _reason(self.names[mood.to], answer)
        return log.address, found.name, found.args


@cache
def interface(where: str) -> Interface:
    """Of a contract by the name that it has here."""
    if where in FOREIGNERS:
        return compiled("Foreign")[1]
    return INTERFACES[where] if where in INTERFACES else load("UpgradeableBeacon").interface


@cache
def views_without_arguments(where: str) -> tuple[str, ...]:
    abi = load(ARTIFACTS.get(where, "UpgradeableBeacon")).abi
    return tuple(
        entry["name"]
        for entry in abi
        if entry["type"] == "function" and not entry["inputs"] and entry["stateMutability"] in ("view", "pure")
    )


@lru_cache(maxsize=16384)
def _encoded(where: str, name: str, args: tuple[Any, ...]) -> bytes:
    return interface(where).encode(name, *args)


def _asked(to: str, call: bytes) -> bytes:
    """A question, as the census takes it."""
    return bytes.fromhex(f"{to[2:]:0>64}{len(call):064x}") + call


@lru_cache(maxsize=16384)
def _decoded(where: str, name: str, output: bytes) -> Any:
    return interface(where).decode_result(name, output)


@lru_cache(maxsize=4096)
def _reason(where: str, output: bytes) -> Reason:
    """The error in revert data, whichever of the contracts declares it; an empty name for a revert without data."""
    if not output:
        return "", {}
    for known in (interface(where), *INTERFACES.values()):
        reason = known.decode_error(output)
        if reason is not None:
            return reason.name, reason.args
    raise AssertionError(f"an error that no ABI declares: {output.hex()}")


@cache
def compiled(name: str) -> tuple[bytes, Interface]:
    """Creation code and interface of a contract of this directory."""
    made = compile_contract(HERE / f"{name}.vy", HERE)
    return made.bytecode, Interface(made.abi)
