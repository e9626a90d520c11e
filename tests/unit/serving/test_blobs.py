# SPDX-License-Identifier: Apache-2.0
"""Text stored as code."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest

from serving_network.contracts import Interface
from tests.evm import Evm
from tests.shared import compile_contract
from tests.unit.contract import Contract
from tests.unit.serving.programs import listed, program

HERE = Path(__file__).parent
SOURCE = (HERE.parents[2] / "contracts/serving/blobs.vy").read_text()


@cache
def harness() -> tuple[Contract, str]:
    compiled = compile_contract(HERE / "mocks/Blobs.vy", HERE.parents[2])
    evm = Evm()
    caller = evm.account("caller")
    address = evm.deploy(compiled.bytecode, sender=caller).created
    assert address is not None
    return Contract(evm, address, Interface(compiled.abi)), caller


@pytest.mark.parametrize(
    "text", [b"", b"\0", b"\xef", b"\xef\x00\x01", b"x" * 31, b"y" * 32, b"z" * 33, bytes(range(256)), b"\xff" * 24_575]
)
def test_what_is_written_is_read(text: bytes) -> None:
    blobs, caller = harness()
    blob = blobs.send("write", text, sender=caller).result
    assert blobs.ask("read", blob) == text
    assert blobs.evm.code(blob) == b"\0" + text


@pytest.mark.parametrize("text", [b"\xff", b"\x33\xff", bytes.fromhex("600160005560206000f3")])
def test_nothing_in_a_blob_can_be_executed(text: bytes) -> None:
    """Code that would destroy the blob or write to its storage stays text."""
    blobs, caller = harness()
    blob = blobs.send("write", text, sender=caller).result
    outcome = blobs.evm.send(blob, b"call", sender=caller, value=1)
    assert outcome.success
    assert outcome.output == b""
    assert blobs.evm.code(blob) == b"\0" + text
    assert blobs.evm.storage(blob, 0) == 0


def test_the_reader_is_the_program_that_the_docstring_lists() -> None:
    prefix, reader, creation = listed(SOURCE)
    assert f"PREFIX: constant(bytes11) = 0x{program(prefix, SIZE=0).hex()}" in SOURCE
    assert f'x"{program(creation).hex()}{program(reader).hex()}"' in SOURCE
