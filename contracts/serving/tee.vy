# pragma version 0.4.3
# pragma evm-version cancun
"""
@title Signatures of a trusted execution environment
@notice EIP-712 digests bound to this chain and this contract, and the recovery of who signed them.
@dev The domain is computed at each call from the chain's id and the contract's own address (behind a front: the
     front's), so a signature is worth nothing on another chain, after a fork or at another contract.
     How money is lost here: a signature accepted twice or in two shapes would pay twice. Nonces stop the first; here
     only 65 bytes r||s||v with v 27 or 28 and s in the lower half are accepted, and nobody is address zero.
     How the owner stops it: by revoking the provider's signer.
"""

DOMAIN_TYPEHASH: constant(bytes32) = keccak256(
    "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
)
VERSION_HASH: constant(bytes32) = keccak256("1")

# @dev secp256k1's order halved (EIP-2).
HALF_ORDER: constant(uint256) = (
    57896044618658097711785492504343953926418782139537452191302581570759080747168
)

# @dev Longer than any signature is decoded, so that a signature of wrong length is wrong and not undecodable.
MAX_SIGNATURE: constant(uint256) = 160


@internal
@view
def _domain(name_hash: bytes32) -> bytes32:
    """
    @dev The hash of the domain: this contract on this chain.
    """
    return keccak256(abi_encode(DOMAIN_TYPEHASH, name_hash, VERSION_HASH, chain.id, self))


@internal
@pure
def _signed_by(signer: address, digest: bytes32, signature: Bytes[MAX_SIGNATURE]) -> bool:
    """
    @dev Whether `signature` is the signer's, in its one valid shape. The signer must not be the zero address: it is
         what recovery answers for a v other than 27 and 28, and for numbers that are no signature.
    """
    if len(signature) != 65:
        return False
    s: uint256 = convert(extract32(signature, 32), uint256)
    if s > HALF_ORDER:
        return False
    v: uint256 = convert(extract32(signature, 33), uint256) & 255
    return ecrecover(digest, v, extract32(signature, 0), s) == signer
