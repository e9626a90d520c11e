"""The real contracts behind their real fronts, the same network as a model, and the people who use both.

Every transaction goes through `World.do`, which runs it on both sides and compares what it returned, emitted and
refused. `World.compare` compares every balance and everything that the contracts list.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, lru_cache
from pathlib import Path
from typing import Any
from warnings import catch_warnings, simplefilter

from serving_network.contracts import Interface, load
from serving_network.contracts.build.compiler import compile_contract
from tests.evm import Evm, Outcome
from tests.stateful.model import ZERO, FineTuning, Inference, Ledger, Mood, Network, Result, Service
from tests.stateful.signing import Signer
from tests.unit.contract import COIN, create

HERE = Path(__file__).parent
RICH = 2**100
LONGEST_MESSAGE = 1000
LEDGER, INFERENCE, OTHER_INFERENCE, FINE_TUNING = "ledger", "inference-v1.0", "inference-v2.0", "fine-tuning-v1.1"
SERVICES = (INFERENCE, OTHER_INFERENCE, FINE_TUNING)
ARTIFACTS = {
    LEDGER: "LedgerManager",
    INFERENCE: "InferenceServing",
    OTHER_INFERENCE: "InferenceServing",
    FINE_TUNING: "FineTuningServing",
}
INTERFACES = {name: load(artifact).interface for name, artifact in ARTIFACTS.items()}
# What the constructors get: minimums of the ledger, least stake of a service. The second is what an upgrade brings.
SETTINGS: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {
    LEDGER: ((3 * COIN, COIN), (2 * COIN, 2 * COIN)),
    INFERENCE: ((100 * COIN,), (50 * COIN,)),
    OTHER_INFERENCE: ((100 * COIN,), (50 * COIN,)),
    FINE_TUNING: ((100 * COIN,), (150 * COIN,)),
}


class World:
    """Four contracts and eleven people on one EVM, at the moment after deployment; `reset` comes back to it."""

    def __init__(self, evm: Evm) -> None:
        self.evm = evm
        self.owner = evm.account("owner", coins=RICH)
        self.upgrade_owner = evm.account("upgrade owner", coins=RICH)
        self.stranger = evm.account("stranger", coins=RICH)
        self._operator = evm.account("operator", coins=RICH)
        self._puppets = {self._puppet(): None for _ in range(2)}
        user_puppet, provider_puppet = self._puppets
        self.users = [evm.account("user", coins=RICH), evm.account("user", coins=RICH), user_puppet]
        self.providers = [evm.account("provider", coins=RICH), provider_puppet]
        self.people = [*self.users, *self.providers, self.owner, self.stranger]
        self.tee_signers: dict[str, Signer] = {signer.address: signer for signer in (Signer(1), Signer(2), Signer(3))}
        self.addresses: dict[str, str] = {}
        self._names: dict[str, str] = {}
        self._beacons: dict[str, str] = {}
        self.implementations: dict[str, list[str]] = {}
        self._deploy()
        self._mark = evm.snapshot()
        self._answers: dict[tuple[str, str, tuple[Any, ...]], Any] = {}
        self.model = self._new_model()

    # Deployment

    def _puppet(self) -> str:
        outcome = self.evm.deploy(_puppet()[0], sender=self._operator)
        assert outcome.created is not None
        self.evm.set_balance(outcome.created, RICH)
        return outcome.created

    def _deploy(self) -> None:
        front = load("BeaconProxy")
        beacon = load("UpgradeableBeacon")
        for name, artifact in ARTIFACTS.items():
            made = [create(self.evm, artifact, *setting, sender=self.upgrade_owner) for setting in SETTINGS[name]]
            self.implementations[name] = made
            self._beacons[name] = create(self.evm, "UpgradeableBeacon", made[0], sender=self.upgrade_owner)
            ledger = self.addresses.get(LEDGER, ZERO)
            arguments: dict[str, tuple[Any, ...]] = {
                LEDGER: (self.owner,),
                FINE_TUNING: (86_400, ledger, self.owner, 30),
            }
            data = INTERFACES[name].encode("initialize", *arguments.get(name, (86_400, ledger, self.owner)))
            created = self.evm.deploy(front.creation_code(self._beacons[name], data), sender=self.upgrade_owner).created
            assert created is not None
            self.addresses[name] = created
            self._names[created] = name
            attach = beacon.interface.encode("attach", created)
            assert self.evm.send(self._beacons[name], attach, sender=self.upgrade_owner).success
        for name in SERVICES:
            kind, version = name.rsplit("-", 1)
            data = INTERFACES[LEDGER].encode("registerService", kind, version, self.addresses[name], "")
            assert self.evm.send(self.addresses[LEDGER], data, sender=self.owner).success

    def _new_model(self) -> Network:
        model = Network(self.evm.time)
        ledger = self.addresses[LEDGER]
        model.add(Ledger(ledger, self.owner, services={name: self.addresses[name] for name in SERVICES}))
        for name in SERVICES:
            kind = FineTuning if name == FINE_TUNING else Inference
            model.add(kind(self.addresses[name], self.owner, ledger=ledger))
        for person in self.people:
            model.coins[person] = RICH
        return model

    def reset(self) -> None:
        """Back to the moment after deployment, on both sides."""
        self._answers.clear()
        self.evm.revert(self._mark)
        self._mark = self.evm.snapshot()
        self.model = self._new_model()

    # What people do

    def do(self, where: str, name: str, *args: Any, sender: str, value: int = 0) -> Result:
        """One transaction on both sides; fails the test where they differ."""
        to = self.addresses[where]
        said = f"{where}.{name}{args}"[:LONGEST_MESSAGE]
        self._answers.clear()
        outcome = self._send(to, INTERFACES[where].encode(name, *args), sender, value)
        expected = self.model.transact(to, name, *args, sender=sender, value=value)
        if not outcome.success:
            reason = _reason(outcome.output)
            assert reason == expected.refused, f"refused with {reason}, not {expected.refused}: {said}"
            return expected
        assert expected.refused is None, f"not refused with {expected.refused}: {said}"
        assert INTERFACES[where].decode_result(name, outcome.output) == expected.value, said
        assert [self._event(log) for log in outcome.logs if log.address in self._names] == expected.events, said
        return expected

    def ask(self, where: str, name: str, *args: Any) -> Any:
        """What a contract answers; asked once until the next transaction."""
        question = where, name, args
        if question not in self._answers:
            outcome = self.evm.view(self.addresses[where], _encoded(where, name, args), sender=self.stranger)
            assert outcome.success, f"{where}.{name}{args}: {outcome.output.hex()}"
            self._answers[question] = _decoded(where, name, outcome.output)
        return self._answers[question]

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
        self.model.coins[to] += amount

    def set_mood(self, puppet: str, mood: Mood | None) -> None:
        """Decide what a wallet that is a contract does with the next coins; None to accept them."""
        target, data = ZERO, b""
        if mood is not None and mood.to:
            target, data = mood.to, INTERFACES[self._names[mood.to]].encode(mood.name, *mood.args)
        plan = _puppet()[1].encode("plan", mood is not None and mood.refuses, target, data)
        assert self.evm.send(puppet, plan, sender=self._operator).success
        self.model.moods.pop(puppet, None)
        if mood is not None:
            self.model.moods[puppet] = mood

    def puppets(self) -> Sequence[str]:
        return list(self._puppets)

    def upgrade(self, where: str, which: int) -> None:
        """Give a front the first implementation or the second, whose minimums differ."""
        self._answers.clear()
        data = load("UpgradeableBeacon").interface.encode("upgradeTo", self.implementations[where][which])
        assert self.evm.send(self._beacons[where], data, sender=self.upgrade_owner).success
        setting = SETTINGS[where][which]
        contract = self.model.contracts[self.addresses[where]]
        if isinstance(contract, Ledger):
            contract.min_account, contract.min_transfer = setting
        elif isinstance(contract, Service):
            (contract.min_stake,) = setting

    # What there is to see

    def ledger(self) -> Ledger:
        found = self.model.contracts[self.addresses[LEDGER]]
        assert isinstance(found, Ledger)
        return found

    def service(self, where: str) -> Inference | FineTuning:
        found = self.model.contracts[self.addresses[where]]
        assert isinstance(found, Inference | FineTuning)
        return found

    def name_of(self, address: str) -> str:
        return self._names[address]

    def preview(
        self, where: str, entries: list[dict[str, Any]], sender: str
    ) -> tuple[list[tuple[str, int]], list[tuple[str, int]]] | None:
        """Who would fail and why, and who would be paid in part, with what stays unsettled; None for too many."""
        if len(entries) > 50:
            return None
        to, data = self.addresses[where], INTERFACES[where].encode("previewSettlementResults", entries)
        if sender in self._puppets:
            to, data, sender = sender, _puppet()[1].encode("run", to, 0, data), self._operator
        outcome = self.evm.view(to, data, sender=sender)
        assert outcome.success
        failed, reasons, partly, missing = _decoded(where, "previewSettlementResults", outcome.output)
        return list(zip(failed, reasons, strict=True)), list(zip(partly, missing, strict=True))

    def coins(self, where: str) -> int:
        return self.evm.balance(self.addresses[where])

    def ledgers(self) -> list[dict[str, Any]]:
        """Every ledger, as the chain lists it."""
        page, total = self.ask(LEDGER, "getAllLedgers", 0, 0)
        assert len(page) == total
        return list(page)

    def accounts(self, where: str) -> list[dict[str, Any]]:
        """Every account of a service, as the chain lists it."""
        page, total = self.ask(where, "getAllAccounts", 0, 0)
        assert len(page) == total
        if where == FINE_TUNING:
            return [self.ask(where, "getAccount", one["user"], one["provider"]) for one in page]
        return list(page)

    def offers(self, where: str) -> list[dict[str, Any]]:
        """Every registration of a service, as the chain lists it."""
        page, total = self.ask(where, "getServices" if where == FINE_TUNING else "getAllServices", 0, 0)
        assert len(page) == total
        return list(page)

    def compare(self) -> None:
        """Every coin, ledger, account and registration is what the model says."""
        for address, coins in self.model.coins.items():
            assert self.evm.balance(address) == coins, f"coins of {self._names.get(address, address)}"
        assert self.ledgers() == self.ledger().view()
        for where in SERVICES:
            assert self.accounts(where) == self.service(where).view(), where
            assert self.offers(where) == self.service(where).view_offers(), where

    def _send(self, to: str, data: bytes, sender: str, value: int) -> Outcome:
        if sender not in self._puppets:
            return self.evm.send(to, data, sender=sender, value=value)
        run = _puppet()[1].encode("run", to, value, data)
        return self.evm.send(sender, run, sender=self._operator)

    def _event(self, log: Any) -> tuple[str, str, dict[str, Any]]:
        found = INTERFACES[self._names[log.address]].decode_event(log.address, log.topics, log.data)
        assert found is not None, "an event that the ABI does not declare"
        return log.address, found.name, found.args


@lru_cache(maxsize=4096)
def _encoded(where: str, name: str, args: tuple[Any, ...]) -> bytes:
    return INTERFACES[where].encode(name, *args)


@lru_cache(maxsize=4096)
def _decoded(where: str, name: str, output: bytes) -> Any:
    return INTERFACES[where].decode_result(name, output)


@lru_cache(maxsize=4096)
def _reason(output: bytes) -> tuple[str, dict[str, Any]] | None:
    """The error in revert data, whichever of the contracts declares it; None for a revert without a reason."""
    if not output:
        return None
    for interface in INTERFACES.values():
        reason = interface.decode_error(output)
        if reason is not None:
            return reason.name, reason.args
    raise AssertionError(f"an error that no ABI declares: {output.hex()}")


@cache
def _puppet() -> tuple[bytes, Interface]:
    compiled = compile_contract(HERE / "Puppet.vy", HERE)
    return compiled.bytecode, Interface(compiled.abi)
