# SPDX-License-Identifier: Apache-2.0
"""A hardware signer with a simulator of the protocol of Ledger's Ethereum app.

The simulator joins the chunks of a command, parses what it is to sign, and signs with its own key, as the device does.
It cannot cover USB and the person who presses the buttons.
"""

from __future__ import annotations

import struct
from typing import Any

import pytest
import rlp
from eth_account import Account
from eth_account.messages import encode_defunct, encode_typed_data
from eth_keys.datatypes import PrivateKey
from eth_utils import keccak

from serving_network.chain.connection import Connection
from serving_network.chain.fees import Fees
from serving_network.errors import ConfigurationError, KeyFailure
from serving_network.localchain import EmbeddedChain
from serving_network.messages.typed_data import VerifierMessage, verifier_typed_data
from serving_network.wallet import hardware
from serving_network.wallet.hardware import LedgerSigner
from tests.clients.network_fixture import signer

RECEIVER = "0x00000000000000000000000000000000000000AA"


class StandIn:
    """A device with one key for each number."""

    def __init__(self) -> None:
        self._kept = b""

    def key(self, path: tuple[int, ...]) -> PrivateKey:
        assert path[:2] == (44 + 2**31, 60 + 2**31)
        assert path[3:] == (0, 0)
        return PrivateKey(keccak(text=f"key {path[2] - 2**31}"))

    def exchange(self, command: bytes) -> bytes:
        class_, instruction, first, second, length = command[:5]
        assert (class_, second, len(command)) == (0xE0, 0, 5 + length)
        assert length <= 255
        assert first in (0, 0x80)
        self._kept = command[5:] if first == 0 else self._kept + command[5:]
        count = self._kept[0]
        key = self.key(struct.unpack(f">{count}I", self._kept[1 : 1 + 4 * count]))
        data = self._kept[1 + 4 * count :]
        if instruction == 0x02:
            text = key.public_key.to_checksum_address()[2:].encode()
            return bytes([65]) + b"\x04" + key.public_key.to_bytes() + bytes([40]) + text
        if instruction == 0x04:
            return self.sign_transaction(key, data)
        if instruction == 0x08:
            (size,) = struct.unpack(">I", data[:4])
            if len(data) < 4 + size:
                return b""
            return self.answer(key, keccak(b"\x19Ethereum Signed Message:\n" + str(size).encode() + data[4:]), 27)
        assert instruction == 0x0C
        return self.answer(key, keccak(b"\x19\x01" + data), 27)

    def sign_transaction(self, key: PrivateKey, data: bytes) -> bytes:
        typed = data[:1] == b"\x02"
        try:
            fields = rlp.decode(data[1:] if typed else data)
        except rlp.exceptions.DecodingError:
            return b""  # more chunks follow
        if typed:
            return self.answer(key, keccak(data), 0)
        chain_id = int.from_bytes(fields[6], "big")
        return self.answer(key, keccak(data), chain_id * 2 + 35)

    def answer(self, key: PrivateKey, digest: bytes, base: int) -> bytes:
        signature = key.sign_msg_hash(digest)
        low = (signature.v + base) & 0xFF
        halves: bytes = signature.r.to_bytes(32, "big") + signature.s.to_bytes(32, "big")
        return bytes([low]) + halves


@pytest.mark.parametrize("fees", [Fees(5 * 10**9, 10**9), Fees.gas_price(3 * 10**9)])
@pytest.mark.parametrize("size", [0, 100, 900])
def test_a_chain_takes_its_transactions(fees: Fees, size: int) -> None:
    device = LedgerSigner(StandIn().exchange, 3)
    for chain_id in (31337, 16661):
        with Connection.open(EmbeddedChain(chain_id=chain_id)) as chain:
            chain.send(signer(1), device.address, b"", value=10**18)
            receipt = chain.send(device, RECEIVER, b"\x07" * size, value=5, fees=fees)
            assert receipt.succeeded
            mined = chain.rpc("eth_getTransactionByHash", [receipt.transaction_hash])
            assert mined["from"].lower() == device.address.lower()
            assert chain.balance(RECEIVER) == 5


def test_messages_and_typed_data() -> None:
    device = LedgerSigner(StandIn().exchange)
    for message in (b"", b"hello", b"x" * 1000):
        recovered = Account.recover_message(encode_defunct(message), signature=device.sign_message(message))
        assert recovered == device.address
    verifier_message = VerifierMessage("task", b"secret", b"root", 1, 2, device.address)
    typed = verifier_typed_data(31337, device.address, verifier_message)
    recovered = Account.recover_message(encode_typed_data(full_message=typed), signature=device.sign_typed_data(typed))
    assert recovered == device.address


def test_each_number_is_a_different_key() -> None:
    addresses = {LedgerSigner(StandIn().exchange, number).address for number in range(3)}
    assert len(addresses) == 3


def test_an_answer_that_is_not_a_signature() -> None:
    stand_in = StandIn()
    device = LedgerSigner(stand_in.exchange)
    stand_in.answer = lambda *_: b"\x01" * 64  # type: ignore[method-assign]
    with pytest.raises(KeyFailure):
        device.sign_message(b"hello")


def test_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    modules: Any = sys.modules
    monkeypatch.setitem(modules, "ledgerblue.comm", None)
    with pytest.raises(ConfigurationError) as failure:
        hardware.connected_ledger(0)
    assert failure.value.next_step == 'pip install "serving-network[ledger]"'
