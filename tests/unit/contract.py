# SPDX-License-Identifier: Apache-2.0
"""A contract behind its real beacon and front, spoken to in Python values.

inference = behind_front(evm, "InferenceServing", 100 * COIN, owner=owner, initialize=(86_400, ledger, owner))
done = inference.send("addAccount", user, provider, "", sender=ledger, value=5 * COIN)
assert done.events == [event("BalanceUpdated", user=user, provider=provider, amount=5 * COIN, pendingRefund=0)]
assert inference.refused("removeService", sender=stranger) == error("ServiceNotExist", provider=stranger)
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from serving_network.contracts import Decoded, Interface, load
from tests.evm import GAS_LIMIT, Evm, Log, Outcome

COIN = 10**18
NOBODY = "0x" + "0b" * 20
"""An address without code, coins or a role."""


def event(name: str, **args: Any) -> Decoded:
    """An event as `Done.events` lists it."""
    return Decoded(name, args)


def error(name: str, **args: Any) -> Decoded:
    """An error as `Contract.refused` gives it; a plain message is `error("Error", message=...)`."""
    return Decoded(name, args)


@dataclass(frozen=True)
class Done:
    """A transaction that succeeded: what it returned, and the events of the contract it was sent to, in order.

    `gas_used` is the receipt's. `gas_before_refunds` is the least gas limit that the transaction needs, but for what
    calls within it must leave behind.
    """

    result: Any
    events: list[Decoded]
    logs: tuple[Log, ...]
    gas_used: int
    gas_before_refunds: int

    def named(self, name: str) -> list[dict[str, Any]]:
        """The arguments of every event of one name, in order."""
        return [args for found, args in self.events if found == name]


@dataclass
class Contract:
    """A contract at an address. `history` keeps every event of every transaction that went through here."""

    evm: Evm
    address: str
    interface: Interface
    beacon: str | None = None
    history: list[Decoded] = field(default_factory=list)

    def send(self, name: str, *args: Any, sender: str, value: int = 0, gas: int = GAS_LIMIT) -> Done:
        """A transaction that must succeed; amounts in wei."""
        data = self.interface.encode(name, *args)
        outcome = self.evm.send(self.address, data, sender=sender, value=value, gas=gas)
        assert outcome.success, f"{name} was refused: {self._reason(outcome)}"
        events = self.events_in(outcome.logs)
        self.history += events
        return Done(
            self.interface.decode_result(name, outcome.output),
            events,
            outcome.logs,
            outcome.gas_used,
            outcome.gas_before_refunds,
        )

    def refused(self, name: str, *args: Any, sender: str, value: int = 0, gas: int = GAS_LIMIT) -> Decoded | None:
        """The error of a transaction that must revert; None for a revert without data."""
        return self.refused_raw(self.interface.encode(name, *args), sender=sender, value=value, gas=gas)

    def refused_raw(self, data: bytes, *, sender: str, value: int = 0, gas: int = GAS_LIMIT) -> Decoded | None:
        """As `refused`, for calldata made by hand."""
        outcome = self.evm.send(self.address, data, sender=sender, value=value, gas=gas)
        assert not outcome.success, "the transaction was not refused"
        return self._reason(outcome)

    def ask(self, name: str, *args: Any, sender: str = NOBODY, gas: int = GAS_LIMIT) -> Any:
        """What a call answers that nobody mines."""
        data = self.interface.encode(name, *args)
        outcome = self.evm.view(self.address, data, sender=sender, gas=gas)
        assert outcome.success, f"{name} was refused: {self._reason(outcome)}"
        return self.interface.decode_result(name, outcome.output)

    def events_in(self, logs: tuple[Log, ...]) -> list[Decoded]:
        """The events of this contract among the logs of a transaction; one that it does not declare fails."""
        decoded = [
            self.interface.decode_event(log.address, log.topics, log.data)
            for log in logs
            if log.address == self.address
        ]
        assert None not in decoded, "an event that the ABI does not declare"
        return [Decoded(one.name, one.args) for one in decoded if one is not None]

    def _reason(self, outcome: Outcome) -> Decoded | None:
        if not outcome.output:
            return None
        reason = self.interface.decode_error(outcome.output)
        assert reason is not None, f"an error that the ABI does not declare: {outcome.output.hex()}"
        error = self.interface._errors[outcome.output[:4]]
        exact = outcome.output[:4] + error.inputs.encode(list(reason.args.values()), reason.name)
        assert outcome.output == exact, f"not the encoding of {reason}: {outcome.output.hex()}"
        return reason


def create(evm: Evm, name: str, *args: Any, sender: str) -> str:
    """The address of a contract made from the artifact `name`, without a front."""
    outcome = evm.deploy(load(name).creation_code(*args), sender=sender)
    assert outcome.created is not None, f"{name} could not be created: {outcome.output.hex()}"
    return outcome.created


def behind_front(
    evm: Evm, name: str, *args: Any, owner: str, initialize: tuple[Any, ...] | None = None, attached: bool = True
) -> Contract:
    """A contract behind its own beacon, as our deployment makes it: initialised in the front's creation, attached.

    `args` are the implementation's; `owner` owns the beacon; without `initialize` the front stays uninitialised.
    """
    interface = load(name).interface
    implementation = create(evm, name, *args, sender=owner)
    beacon = create(evm, "UpgradeableBeacon", implementation, sender=owner)
    data = b"" if initialize is None else interface.encode("initialize", *initialize)
    front = create(evm, "BeaconProxy", beacon, data, sender=owner)
    if attached:
        attach = load("UpgradeableBeacon").interface.encode("attach", front)
        assert evm.send(beacon, attach, sender=owner).success
    return Contract(evm, front, interface, beacon)
