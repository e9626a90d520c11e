# SPDX-License-Identifier: Apache-2.0
# pragma version 0.4.3
# pragma optimize codesize
"""
@title Every kind of thing that a storage layout can hold
"""

from modules import counter

initializes: counter

flag Mode:
    OFF
    ON

struct Inner:
    size: uint8
    mode: Mode

struct Entry:
    amount: uint256
    inner: Inner[3]

struct NeverStored:
    amount: uint256

# @custom:packed _word low:8, high:248
_word: uint256

entries: HashMap[address, HashMap[uint256, DynArray[Entry, 4]]]


@external
def store(given: NeverStored):
    self._word = given.amount
    counter._count()
    if given.amount == 1:
        raw_revert(abi_encode(given.amount, method_id=method_id("One(uint256)")))
    if given.amount == 2:
        self._two()


@external
@view
@raw_return
def listed() -> Bytes[64]:
    return abi_encode(self._word)


@internal
def _two():
    raw_revert(method_id("Two()"))


@internal
def _never_called():
    raw_revert(method_id("Three()"))


@external
@payable
def __default__():
    pass
