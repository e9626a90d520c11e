# SPDX-License-Identifier: Apache-2.0
# pragma version 0.4.3
# pragma evm-version cancun
"""
@title Lists of packed words
@custom:contract-name lists
@license Apache-2.0
@author Serving Network maintainers
@notice Stores any number of lists, each identified by a number. An entry is one word. Word 0 also holds the length,
        so that a new list costs one new word instead of two.

            255       224 223                                          0
            [ length:32 | payload:224                                   ]   word 0
            [ 0         | payload:224                                   ]   every other word

@dev Entries keep their insertion order, except that a removal moves the last entry into the gap. No payload is zero.
@custom:risk Lists hold no coins; a list that lost an entry would hide an account from its owner.
@custom:mitigation The invariant tests compare a service's lists with its accounts.
"""

LENGTH_OFFSET: constant(uint256) = 224
PAYLOAD_MASK: constant(uint256) = 2**224 - 1
ONE: constant(uint256) = 2**224

# @dev List numbers have at most 192 bits, positions 32.
POSITION_BITS: constant(uint256) = 64

# @custom:packed _words payload:224, length:32
_words: HashMap[uint256, uint256]


@internal
@view
def _length(id: uint256) -> uint256:
    return self._word(id, 0) >> LENGTH_OFFSET


@internal
@view
def _at(id: uint256, position: uint256) -> uint256:
    return self._word(id, position) & PAYLOAD_MASK


@internal
def _set(id: uint256, position: uint256, payload: uint256):
    self._store(id, position, (self._word(id, position) & ~PAYLOAD_MASK) | payload)


@internal
def _push(id: uint256, payload: uint256) -> uint256:
    """
    @dev Appends an entry and returns its position. The length cannot overflow 32 bits: four billion entries cost more
         gas than a chain provides.
    """
    first: uint256 = self._word(id, 0)
    position: uint256 = first >> LENGTH_OFFSET
    if position == 0:
        self._store(id, 0, ONE | payload)
    else:
        self._store(id, 0, first + ONE)
        self._store(id, position, payload)
    return position


@internal
def _remove(id: uint256, position: uint256) -> uint256:
    """
    @dev Removes an entry. Returns the last entry if it was moved into the gap, zero if the last entry was the one
         removed. The word that becomes free is past the end: it is never read, and makes the next entry cheaper.
    """
    first: uint256 = self._word(id, 0)
    last: uint256 = (first >> LENGTH_OFFSET) - 1
    if last == 0:
        self._store(id, 0, 0)
        return 0
    if position == last:
        self._store(id, last, 0)
        self._store(id, 0, first - ONE)
        return 0
    moved: uint256 = self._word(id, last) & PAYLOAD_MASK
    if position == 0:
        self._store(id, 0, ((last << LENGTH_OFFSET) | moved))
    else:
        self._store(id, position, moved)
        self._store(id, 0, first - ONE)
    return moved


@internal
@view
def _word(id: uint256, position: uint256) -> uint256:
    return self._words[(id << POSITION_BITS) | position]


@internal
def _store(id: uint256, position: uint256, word: uint256):
    self._words[(id << POSITION_BITS) | position] = word
