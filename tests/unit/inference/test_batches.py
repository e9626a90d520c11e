# SPDX-License-Identifier: Apache-2.0
"""The hash of a whole batch: the program that the docstring lists, against typed data, for every number of rows."""

from __future__ import annotations

from pathlib import Path

import pytest
from eth_utils import keccak, to_checksum_address
from hypothesis import given, settings
from hypothesis import strategies as st

from serving_network.contracts import load
from serving_network.messages.typed_data import USER_SETTLEMENT_TYPE, UserSettlement
from tests.evm import Evm
from tests.unit.contract import Contract
from tests.unit.inference.world import Fee, World
from tests.unit.serving.programs import listed, program

SOURCE = (Path(__file__).parents[3] / "contracts/inference/batches.vy").read_text()
TYPE_HASH = keccak(text=USER_SETTLEMENT_TYPE)
HASHER, CREATION = listed(SOURCE)
CODE = program(HASHER, ROW_TYPEHASH=int.from_bytes(TYPE_HASH, "big"))
CALLER = "0x" + "11" * 20

FEES = st.builds(
    Fee,
    st.binary(min_size=20, max_size=20).map(to_checksum_address),
    st.integers(0, 2**96 - 1),
    st.integers(0, 2**256 - 1),
    st.binary(min_size=32, max_size=32),
)


def hashed(evm: Evm, hasher: str, data: bytes) -> bytes:
    outcome = evm.view(hasher, data, sender=CALLER)
    assert outcome.success
    return outcome.output


def calldata(fees: list[Fee], gap: int = 0) -> bytes:
    """What settleBatchWithTEE is called with: the selector, where the rows are, the rows."""
    rows = [
        packed.to_bytes(32, "big") + nonce.to_bytes(32, "big") + digest for packed, nonce, digest in map(Fee.row, fees)
    ]
    words = (64 + gap).to_bytes(32, "big") + b"\xee" * (32 + gap) + len(rows).to_bytes(32, "big")
    return b"\xab\xcd\xef\x01" + words + b"".join(rows) + b"\xee" * 96


def array_hash(fees: list[UserSettlement]) -> bytes:
    return keccak(b"".join(fee.struct_hash() for fee in fees))


@pytest.fixture(scope="module")
def made() -> tuple[Evm, str]:
    """The program on its own."""
    evm = Evm()
    address = evm.deploy(program(CREATION) + CODE, sender=evm.account("creator")).created
    assert address is not None
    assert evm.code(address) == CODE
    return evm, address


def test_the_implementation_creates_the_program_that_the_docstring_lists(world: World) -> None:
    head, tail = program(CREATION) + CODE[:1], CODE[33:]
    assert f'x"{head.hex()}"' in SOURCE
    assert f'x"{tail.hex()}"' in SOURCE
    assert world.serving.beacon is not None
    beacon = Contract(world.evm, world.serving.beacon, load("UpgradeableBeacon").interface)
    implementation = bytes.fromhex(beacon.ask("implementation")[2:])
    # The second contract that it created; the first is the reader of blobs.
    hasher = keccak(b"\xd6\x94" + implementation + b"\x02")[12:]
    assert world.evm.code(to_checksum_address(hasher)) == CODE


@pytest.mark.parametrize("rows", [*range(1, 20), 63, 64, 65, 127, 128, 199, 200, 208])
def test_every_number_of_rows(made: tuple[Evm, str], rows: int) -> None:
    fees = [Fee(to_checksum_address(keccak(bytes([place]))[12:]), 7**place % 2**96, place) for place in range(rows)]
    assert hashed(*made, calldata(fees)) == array_hash([fee.message() for fee in fees])


@settings(max_examples=80)
@given(fees=st.lists(FEES, min_size=1, max_size=12), gap=st.sampled_from([0, 32, 64, 1, 17]))
def test_any_rows_wherever_they_stand(made: tuple[Evm, str], fees: list[Fee], gap: int) -> None:
    assert hashed(*made, calldata(fees, gap)) == array_hash([fee.message() for fee in fees])


def test_costs_little_a_row(made: tuple[Evm, str]) -> None:
    evm, hasher = made
    few, many = (evm.view(hasher, calldata([Fee(CALLER)] * rows), sender=CALLER).gas_used for rows in (50, 150))
    row = len(calldata([Fee(CALLER)] * 2)) - len(calldata([Fee(CALLER)]))
    assert row == 96
    assert (many - few) / 100 < 160 + 16 * row
