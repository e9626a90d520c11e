"""The EVM of `tests.evm` on revm, thirty times faster, for long campaigns.

It gives the same results and events but not the same gas: slots stay warm from one transaction to the next. Wheels
of pyrevm exist for Python 3.11 and 3.12; `available` says whether it is installed.
"""

from __future__ import annotations

import re
from importlib.util import find_spec
from typing import Any

from eth_utils import to_checksum_address

from tests.evm import CHAIN_ID, GAS_LIMIT, START_TIME, Evm, Log, Outcome

available = find_spec("pyrevm") is not None

_REVERTED = re.compile(r"^Revert \{ gas_used: \d+, output: 0x([0-9a-f]*) \}$")


class Revm(Evm):
    """As `Evm`, without `storage` of past states."""

    def __init__(self) -> None:
        import pyrevm

        self._pyrevm = pyrevm
        settings = pyrevm.CfgEnv(chain_id=CHAIN_ID)
        self._time = START_TIME + 1
        self._evm: Any = pyrevm.EVM(env=pyrevm.Env(cfg=settings, block=self._block()), spec_id="CANCUN")
        self._accounts = 0

    @property
    def time(self) -> int:
        return self._time

    @time.setter
    def time(self, timestamp: int) -> None:
        self._time = timestamp
        self._evm.set_block_env(self._block())

    def balance(self, address: str) -> int:
        return int(self._evm.get_balance(address))

    def set_balance(self, address: str, wei: int) -> None:
        self._evm.set_balance(address, wei)

    def code(self, address: str) -> bytes:
        return self._evm.get_code(address) or b""

    def set_code(self, address: str, code: bytes) -> None:
        raise NotImplementedError("revm takes code only with a whole account")

    def storage(self, address: str, slot: int) -> int:
        return int(self._evm.storage(address, slot))

    def deploy(self, creation_code: bytes, *, sender: str, value: int = 0) -> Outcome:
        try:
            created = self._evm.deploy(sender, creation_code, value, GAS_LIMIT)
        except RuntimeError as error:
            return self._failed(error)
        return self._done(b"", to_checksum_address(created))

    def send(self, to: str, data: bytes = b"", *, sender: str, value: int = 0, gas: int = GAS_LIMIT) -> Outcome:
        try:
            output = self._evm.message_call(sender, to, data, value, gas)
        except RuntimeError as error:
            return self._failed(error)
        return self._done(bytes(output), None)

    def view(self, to: str, data: bytes, *, sender: str, gas: int = GAS_LIMIT) -> Outcome:
        try:
            output = self._evm.message_call(sender, to, data, 0, gas, is_static=True)
        except RuntimeError as error:
            return self._failed(error)
        return Outcome(True, bytes(output), (), 0, 0, None)

    def snapshot(self) -> Any:
        return self._evm.snapshot(), self._time, self._accounts

    def revert(self, mark: Any) -> None:
        checkpoint, self.time, self._accounts = mark
        self._evm.revert(checkpoint)

    def _block(self) -> Any:
        return self._pyrevm.BlockEnv(
            number=1,
            timestamp=self._time,
            basefee=0,
            gas_limit=2 * GAS_LIMIT,
            difficulty=0,
            prevrandao=bytes(32),
            excess_blob_gas=0,
        )

    def _done(self, output: bytes, created: str | None) -> Outcome:
        self._evm.reset_transient_storage()
        result = self._evm.result
        logs = tuple(
            Log(one.address, tuple(bytes.fromhex(topic[2:]) for topic in one.topics), bytes(one.data[1]))
            for one in result.logs
        )
        return Outcome(True, output, logs, result.gas_used, result.gas_used + result.gas_refunded, created)

    def _failed(self, error: RuntimeError) -> Outcome:
        self._evm.reset_transient_storage()
        found = _REVERTED.match(str(error))
        output = bytes.fromhex(found[1]) if found else b""
        used = self._evm.result.gas_used
        return Outcome(False, output, (), used, used, None)
