# SPDX-License-Identifier: Apache-2.0
"""Calldata that no encoder makes: rows that are hashed in one place and paid in another would pay what nobody signed.

The rows of a batch are decoded by the compiler's code and hashed by a program of our own. Whatever the offsets and
lengths say, both must see the same rows, or the call must not pay.
"""

import pytest

from tests.attacks.scene import HASH, Scene
from tests.evm import Outcome
from tests.stateful.signing import INFERENCE as NAME
from tests.stateful.signing import batch_hash, digest, word
from tests.stateful.world import INFERENCE, INTERFACES
from tests.unit.contract import COIN

FEES = (COIN, 3 * COIN)
HEAD = 64
MODULUS = 2**256


@pytest.fixture
def ready(bare: Scene) -> Scene:
    bare.register(bare.provider)
    bare.fund(bare.provider)
    return bare


def row(scene: Scene, fee: int, nonce: int) -> bytes:
    return bytes.fromhex(scene.user[2:]) + fee.to_bytes(12, "big") + word(nonce) + HASH


def signature(scene: Scene, fees: tuple[int, ...] = FEES) -> bytes:
    """Of one row for each fee, with the nonces 1, 2, ..."""
    user = int(scene.user, 16) << 96
    rows = [{"userAndFee": user | fee, "nonce": nonce, "requestsHash": HASH} for nonce, fee in enumerate(fees, 1)]
    return scene.tee_signer.sign(digest(NAME, scene.addresses[INFERENCE], batch_hash(scene.provider, rows)))


def call(scene: Scene, arguments: bytes) -> Outcome:
    selector = INTERFACES[INFERENCE].encode("settleBatchWithTEE", [], b"")[:4]
    return scene.evm.send(scene.addresses[INFERENCE], selector + arguments, sender=scene.provider)


def earned(scene: Scene, arguments: bytes) -> int:
    before = scene.evm.balance(scene.provider)
    call(scene, arguments)
    return scene.evm.balance(scene.provider) - before


@pytest.mark.parametrize("gap", [0, 1, 31, 32, 97])
@pytest.mark.parametrize("signature_first", [True, False])
@pytest.mark.parametrize("behind", [0, 5, 200])
def test_rows_are_found_wherever_they_stand(ready: Scene, gap: int, signature_first: bool, behind: int) -> None:
    rows = word(2) + b"".join(row(ready, fee, nonce) for nonce, fee in enumerate(FEES, 1))
    signed = word(65) + signature(ready)
    first, second = (signed, rows) if signature_first else (rows, signed)
    offsets = [HEAD + gap, HEAD + gap + len(first) + gap]
    if signature_first:
        offsets.reverse()
    filling = b"\xee" * gap
    data = word(offsets[0]) + word(offsets[1]) + filling + first + filling + second + b"\xee" * behind
    assert earned(ready, data) == sum(FEES)


def test_rows_that_the_calldata_ends_before_are_zeros_for_both(ready: Scene) -> None:
    """The last row's hash of requests is cut off: it is signed and paid as zeros, and not as what was meant."""
    signed = (word(65) + signature(ready)).ljust(128, b"\0")
    rows = word(2) + b"".join(row(ready, fee, nonce) for nonce, fee in enumerate(FEES, 1))
    whole = word(HEAD + len(signed)) + word(HEAD) + signed + rows
    assert earned(ready, whole[:-1]) == 0
    assert earned(ready, whole[:-40]) == 0
    assert earned(ready, whole) == sum(FEES)


@pytest.mark.parametrize("count", [0, 1, 3, 200, 201, 208, 209, 2**64, 2**251, 2**255, MODULUS - 1, MODULUS // 96 + 1])
def test_another_number_of_rows_than_was_signed_pays_nothing(ready: Scene, count: int) -> None:
    signed = (word(65) + signature(ready)).ljust(128, b"\0")
    rows = word(count) + b"".join(row(ready, fee, nonce) for nonce, fee in enumerate(FEES, 1))
    assert earned(ready, word(HEAD + len(signed)) + word(HEAD) + signed + rows + bytes(96)) == 0


@pytest.mark.parametrize(
    "offset", [0, 4, 32, 2**32, 2**64, 2**160, 2**255, MODULUS - 1, MODULUS - 4, MODULUS - 32, MODULUS - 36]
)
def test_offsets_to_nowhere_and_around_the_end_of_numbers_pay_nothing(ready: Scene, offset: int) -> None:
    rows = word(2) + b"".join(row(ready, fee, nonce) for nonce, fee in enumerate(FEES, 1))
    signed = (word(65) + signature(ready)).ljust(128, b"\0")
    assert earned(ready, word(offset) + word(HEAD + len(rows)) + rows + signed) == 0
    assert earned(ready, word(HEAD) + word(offset) + rows + signed) == 0
