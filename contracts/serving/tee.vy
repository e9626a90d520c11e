# SPDX-License-Identifier: Apache-2.0
# pragma version 0.4.3
# pragma evm-version cancun
"""
@title Signatures of a trusted execution environment
@custom:contract-name tee
@license Apache-2.0
@author Serving Network maintainers
@notice Computes EIP-712 domains bound to this chain and this contract, and verifies signatures.
@dev The domain is computed on each call from the chain ID and the contract's address (behind a front, the front's
     address). A signature is therefore invalid on another chain, after a fork, and for another contract.
@custom:risk A signature that is accepted twice, or in two encodings, would pay twice. Nonces prevent the first. Here,
        only 65 bytes r||s||v with v of 27 or 28 and s in the lower half are accepted, and the zero address is never a
        signer.
@custom:mitigation The owner revokes the acknowledgement of the provider's signer.
"""

DOMAIN_TYPEHASH: constant(bytes32) = keccak256(
    "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
)
VERSION_HASH: constant(bytes32) = keccak256("1")

# @dev Half the order of secp256k1 (EIP-2).
HALF_ORDER: constant(uint256) = (
    57896044618658097711785492504343953926418782139537452191302581570759080747168
)

# @dev Decoding accepts more than 65 bytes, so that a longer signature is invalid instead of undecodable.
MAX_SIGNATURE: constant(uint256) = 160


@internal
@view
def _domain(name_hash: bytes32) -> bytes32:
    """
    @dev The EIP-712 domain separator of this contract on this chain.
    """
    return keccak256(abi_encode(DOMAIN_TYPEHASH, name_hash, VERSION_HASH, chain.id, self))


@internal
@pure
def _signed_by(signer: address, digest: bytes32, signature: Bytes[MAX_SIGNATURE]) -> bool:
    """
    @dev Returns whether `signature` is the signer's, in its only valid encoding. The signer must not be the zero
         address, which recovery returns for a v other than 27 and 28 and for numbers that are not a signature.
    """
    if len(signature) != 65:
        return False
    s: uint256 = convert(extract32(signature, 32), uint256)
    if s > HALF_ORDER:
        return False
    v: uint256 = convert(extract32(signature, 33), uint256) & 255
    return ecrecover(digest, v, extract32(signature, 0), s) == signer
