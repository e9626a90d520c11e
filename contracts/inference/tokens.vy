# SPDX-License-Identifier: Apache-2.0
# pragma version 0.4.3
# pragma evm-version cancun
"""
@title Revoked session tokens
@custom:contract-name tokens
@license Apache-2.0
@author Serving Network maintainers
@notice A user signs tokens off-chain, numbered 0 to 255 within a generation. The chain stores only what is revoked:
        single numbers, or everything older than the current generation. Both survive the deletion of the account, so
        a revoked token stays revoked permanently.

            255           200 199        0
            [ generation:56 | ids 0-199   ]   word 0: the current generation
            [ generation:56 | ids 200-255 ]   word 1: counts only while its generation is the current one

@dev A new generation does not clear the second word, and most calls touch only the first.
@custom:risk Whoever holds a token that is not revoked can spend the user's balance with that provider.
@custom:mitigation The user calls `revokeToken` or `revokeAllTokens`.
"""

event TokenRevoked:
    user: indexed(address)
    provider: indexed(address)
    tokenId: uint8


event TokensRevoked:
    user: indexed(address)
    provider: indexed(address)
    tokenIds: DynArray[uint8, MAX_IDS]


event AllTokensRevoked:
    user: indexed(address)
    provider: indexed(address)
    newGeneration: uint256


# @dev Twice the number of ids, in case a caller repeats some.
MAX_IDS: constant(uint256) = 512

FIRST_IDS: constant(uint256) = 200
IDS_MASK: constant(uint256) = 2**200 - 1
GENERATION_OFFSET: constant(uint256) = 200

# @custom:packed _revoked ids:200, generation:56
_revoked: HashMap[bytes32, uint256[2]]


@internal
@view
def _state(key: bytes32) -> (uint256, uint256):
    """
    @dev Returns the current generation and the bitmap of the tokens revoked in it.
    """
    first: uint256 = self._revoked[key][0]
    second: uint256 = self._revoked[key][1]
    bitmap: uint256 = first & IDS_MASK
    if second >> GENERATION_OFFSET == first >> GENERATION_OFFSET:
        bitmap |= second << FIRST_IDS
    return first >> GENERATION_OFFSET, bitmap


@internal
def _revoke(key: bytes32, id: uint8):
    number: uint256 = convert(id, uint256)
    if number < FIRST_IDS:
        self._revoked[key][0] |= 1 << number
    else:
        first: uint256 = self._revoked[key][0]
        second: uint256 = self._revoked[key][1]
        if second >> GENERATION_OFFSET != first >> GENERATION_OFFSET:
            second = first & ~IDS_MASK
        self._revoked[key][1] = second | (1 << (number - FIRST_IDS))


@internal
def _revoke_all(key: bytes32) -> uint256:
    """
    @dev Starts a new generation and returns it.
    """
    generation: uint256 = (self._revoked[key][0] >> GENERATION_OFFSET) + 1
    self._revoked[key][0] = generation << GENERATION_OFFSET
    return generation
