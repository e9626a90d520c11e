# SPDX-License-Identifier: Apache-2.0
# pragma version 0.4.3
# pragma evm-version cancun
"""
@title Lists alone
@dev How money is lost here: no coins; it is for tests only.
     How the owner prevents it: by not using it.
"""

from contracts.serving import lists

initializes: lists


@external
def push(id: uint256, payload: uint256) -> uint256:
    return lists._push(id, payload)


@external
def remove(id: uint256, position: uint256) -> uint256:
    return lists._remove(id, position)


@external
def replace(id: uint256, position: uint256, payload: uint256):
    lists._set(id, position, payload)


@external
@view
def entries(id: uint256) -> DynArray[uint256, 100]:
    found: DynArray[uint256, 100] = []
    for i: uint256 in range(lists._length(id), bound=100):
        found.append(lists._at(id, i))
    return found
