# SPDX-License-Identifier: Apache-2.0
"""Fronts and beacons in a bare EVM, and implementations that show what reaches them."""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from eth_abi.abi import encode

from serving_network.contracts import Interface, load
from serving_network.contracts.build.assembler import assemble
from tests.evm import Evm, Outcome
from tests.shared import compile_contract

HERE = Path(__file__).parent
BEACON = load("UpgradeableBeacon")
FRONT = load("BeaconProxy")
IMPLEMENTATION_SLOT = 0x360894A13BA1A3210667C828492DB98DCA3E2076CC3735A920A3CA505D382BBC
BEACON_SLOT = 0xA3F0AD74E5423AEBFD80D3EF4346578335A9A72AEAEE59FF6CB3582B35133D50
NOBODY = "0x0000000000000000000000000000000000000000"


@cache
def probe() -> tuple[bytes, Interface]:
    """Creation code without arguments, and ABI, of the implementation that says where it runs."""
    compiled = compile_contract(HERE / "Probe.vy", HERE)
    return compiled.bytecode, Interface(compiled.abi)


@cache
def mirror() -> bytes:
    """Creation code of the implementation that answers with what it is sent."""
    return b"".join(assemble((HERE / "mirror.evm").read_text()).values())


@cache
def openzeppelin(name: str) -> bytes:
    """Creation code of OpenZeppelin 4.8.3's contract, without arguments."""
    codes = json.loads((HERE / "openzeppelin/bytecode.json").read_text())
    return bytes.fromhex(codes[name].removeprefix("0x"))


@dataclass
class World:
    """A chain with an upgrade owner, and what it takes to put contracts there."""

    evm: Evm
    owner: str
    stranger: str
    user: str

    def create(self, code: bytes, value: int = 0) -> str:
        outcome = self.evm.deploy(code, sender=self.owner, value=value)
        assert outcome.success, outcome.output
        assert outcome.created is not None
        return outcome.created

    def probe(self, version: int = 1) -> str:
        code, _ = probe()
        return self.create(code + encode(["uint256"], [version]))

    def mirror(self) -> str:
        return self.create(mirror())

    def beacon(self, implementation: str) -> str:
        return self.create(BEACON.creation_code(implementation))

    def front(self, beacon: str, data: bytes = b"", value: int = 0) -> str:
        return self.create(FRONT.creation_code(beacon, data), value)

    def attached_front(self, implementation: str) -> tuple[str, str]:
        """A beacon and a front attached to it."""
        beacon = self.beacon(implementation)
        front = self.front(beacon)
        assert self.order(beacon, "attach", front).success
        return beacon, front

    def order(self, beacon: str, name: str, *args: Any, sender: str | None = None) -> Outcome:
        """A transaction to a beacon, by default from its owner."""
        return self.evm.send(beacon, BEACON.interface.encode(name, *args), sender=sender or self.owner)

    def ask(self, beacon: str, name: str) -> Any:
        outcome = self.evm.view(beacon, BEACON.interface.encode(name), sender=self.stranger)
        assert outcome.success
        return BEACON.interface.decode_result(name, outcome.output)

    def call_probe(self, front: str, name: str, *args: Any, sender: str | None = None, value: int = 0) -> Any:
        """What a probe answers; a revert fails the test."""
        _, interface = probe()
        outcome = self.evm.send(front, interface.encode(name, *args), sender=sender or self.user, value=value)
        assert outcome.success, outcome.output
        return interface.decode_result(name, outcome.output)


def reason(outcome: Outcome) -> str:
    """The message of a plain `Error(string)` revert."""
    assert not outcome.success
    decoded = BEACON.interface.decode_error(outcome.output)
    assert decoded is not None
    assert decoded.name == "Error"
    message: str = decoded.args["message"]
    return message
