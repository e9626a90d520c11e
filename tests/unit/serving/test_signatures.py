# SPDX-License-Identifier: Apache-2.0
"""Which signatures the services accept: one shape, one signer, and never address zero."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from eth_utils import keccak
from hypothesis import given, settings
from hypothesis import strategies as st

from serving_network.contracts import Interface
from serving_network.signing import signed_by
from serving_network.wallet.local import LocalTeeSigner
from tests.evm import Evm
from tests.raw_signing import sign_digest
from tests.shared import compile_contract
from tests.unit.contract import Contract

HERE = Path(__file__).parent
VECTORS = json.loads((HERE.parents[1] / "settlement/eip712_vectors.json").read_text("utf-8"))
CASES = [*VECTORS["inference"], *VECTORS["fineTuning"]]
MALFORMED = [(case, kind) for case in CASES for kind in case.get("invalidSignatures", {})]
ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
NOBODY = "0x" + "00" * 20
DIGEST = keccak(text="digest")
SIGNER = LocalTeeSigner(keccak(text="signer"))


def hexed(text: str) -> bytes:
    return bytes.fromhex(text.removeprefix("0x"))


@cache
def harness(chain: int = 31337, address: str = "0x" + "77" * 20) -> Contract:
    """The module at an address on a chain."""
    compiled = compile_contract(HERE / "mocks/Signatures.vy", HERE.parents[2])
    evm = Evm(chain)
    evm.set_code(address, compiled.deployed_bytecode)
    return Contract(evm, address, Interface(compiled.abi))


def accepted(signer: str, digest: bytes, signature: bytes) -> bool:
    answer: bool = harness().ask("signedBy", signer, digest, signature)
    return answer


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['domain']['name']} {case['digest'][:10]}")
def test_vectors_of_another_implementation(case: dict[str, Any]) -> None:
    domain = case["domain"]
    at_home = harness(domain["chainId"], domain["verifyingContract"])
    assert at_home.ask("domain", domain["name"]) == hexed(case["domainSeparator"])
    assert at_home.ask("signedBy", VECTORS["teeSigner"], hexed(case["digest"]), hexed(case["signature"])) is True


@pytest.mark.parametrize(
    ("case", "kind"), MALFORMED, ids=lambda one: one if isinstance(one, str) else one["digest"][:10]
)
def test_malformed_signatures_of_the_vectors(case: dict[str, Any], kind: str) -> None:
    assert accepted(VECTORS["teeSigner"], hexed(case["digest"]), hexed(case["invalidSignatures"][kind])) is False


@pytest.mark.parametrize("length", [0, 1, 32, 64, 66, 97, 130, 160])
def test_any_other_length(length: int) -> None:
    assert accepted(SIGNER.address, DIGEST, (sign_digest(SIGNER, DIGEST) * 3)[:length]) is False


def test_longer_than_anything_sensible_is_not_decoded() -> None:
    data = harness().interface.encode("signedBy", SIGNER.address, DIGEST, bytes(161))
    assert harness().refused_raw(data, sender=NOBODY) is None


@pytest.mark.parametrize("v", [0, 1, 2, 26, 29, 30, 35, 255])
def test_any_other_v(v: int) -> None:
    for signer in (SIGNER.address, VECTORS["teeSigner"]):
        assert accepted(signer, DIGEST, sign_digest(SIGNER, DIGEST)[:64] + bytes([v])) is False


def test_the_other_v() -> None:
    signature = sign_digest(SIGNER, DIGEST)
    assert accepted(SIGNER.address, DIGEST, signature[:64] + bytes([55 - signature[64]])) is False


@pytest.mark.parametrize("r", [0, ORDER, ORDER + 1, 2**256 - 1])
def test_an_r_that_is_no_number_of_the_curve(r: int) -> None:
    signature = r.to_bytes(32, "big") + sign_digest(SIGNER, DIGEST)[32:]
    assert accepted(SIGNER.address, DIGEST, signature) is False


@pytest.mark.parametrize("s", [0, ORDER // 2 + 1, ORDER - 1, ORDER, 2**256 - 1])
def test_an_s_that_is_none_or_in_the_upper_half(s: int) -> None:
    signature = sign_digest(SIGNER, DIGEST)
    assert accepted(SIGNER.address, DIGEST, signature[:32] + s.to_bytes(32, "big") + signature[64:]) is False


def test_the_mirror_image_of_a_signature_is_refused() -> None:
    signature = sign_digest(SIGNER, DIGEST)
    s = ORDER - int.from_bytes(signature[32:64], "big")
    mirrored = signature[:32] + s.to_bytes(32, "big") + bytes([55 - signature[64]])
    assert accepted(SIGNER.address, DIGEST, mirrored) is False


@settings(max_examples=60)
@given(
    key=st.integers(1, ORDER - 1),
    digest=st.binary(min_size=32, max_size=32),
    flip=st.one_of(st.none(), st.integers(0, 65 * 8 - 1)),
)
def test_as_the_signing_side_judges(key: int, digest: bytes, flip: int | None) -> None:
    signer = LocalTeeSigner(key.to_bytes(32, "big"))
    signature = sign_digest(signer, digest)
    if flip is not None:
        signature = (int.from_bytes(signature, "big") ^ 1 << flip).to_bytes(65, "big")
    assert accepted(signer.address, digest, signature) is signed_by(signer.address, digest, signature) is (flip is None)
