# pragma version 0.4.3
# pragma evm-version cancun
"""
@title Lists of packed words
@notice Any number of lists, each known by a number. An entry is one word; word 0 also carries the length, so that a
        new list costs one fresh word and not two.

            255       224 223                                          0
            [ length:32 | payload:224                                   ]   word 0
            [ 0         | payload:224                                   ]   every other word

@dev Entries keep their order of insertion, but for a removal, which moves the last entry into the gap. No payload is
     zero.
     How money is lost here: no coins; a list that forgot an entry would hide an account from its owner.
     How the owner prevents it: the lists of a service and its accounts are compared by the invariant tests.
"""

LENGTH_OFFSET: constant(uint256) = 224
PAYLOAD_MASK: constant(uint256) = 2**224 - 1
ONE: constant(uint256) = 2**224

# @dev Numbers of lists have at most 192 bits, positions 32.
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
    @dev Append and return the new entry's position. The length cannot overflow 32 bits: four billion entries cost
         more gas than the chain has.
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
    @dev Remove an entry. The last entry moves into the gap and is returned; zero when it was the last itself. What it
         leaves behind lies past the end, is never read and makes the next entry cheaper.
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
