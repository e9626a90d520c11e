# SPDX-License-Identifier: Apache-2.0
"""supportsInterface"""

import pytest
from eth_utils import keccak

from tests.unit.contract import Contract

BOOK = ("lockedBalance(address)", "providerCount(address)", "providersOf(address)")


@pytest.mark.parametrize(
    ("identifier", "supported"),
    [("01ffc9a7", True), ("160841b1", True), ("1ffc15d2", True), ("ffffffff", False), ("00000000", False)],
)
def test_answers(serving: Contract, identifier: str, supported: bool) -> None:
    assert serving.ask("supportsInterface", bytes.fromhex(identifier), gas=53_000) is supported


def test_the_account_book_has_the_id_of_its_functions(serving: Contract) -> None:
    first, second, third = (int.from_bytes(keccak(text=function)[:4], "big") for function in BOOK)
    assert serving.ask("supportsInterface", (first ^ second ^ third).to_bytes(4, "big"))
