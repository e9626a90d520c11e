# SPDX-License-Identifier: Apache-2.0
# pragma version 0.4.3
# pragma evm-version cancun
"""
@title Message signed by a fine-tuning provider's TEE
@custom:contract-name verifier
@license Apache-2.0
@author Serving Network maintainers
@notice The EIP-712 message `VerifierMessage` and its verification.
@custom:risk A part of a settlement that is not in the message could be signed for one task and paid for another.
        Everything except the provider and the signature is in it. The provider is not, because existing clients sign
        the message that way: a signer that is acknowledged for two providers settles for both with one signature, if
        the user has an account with both and both deliver the same.
@custom:mitigation The owner acknowledges a signer for one provider only, the one it is proven to belong to.
"""

from ..serving import tee
from . import deliverables


struct VerifierInput:
    id: String[deliverables.MAX_ID_DECODED]
    encryptedSecret: Bytes[deliverables.MAX_SECRET_DECODED]
    modelRootHash: Bytes[deliverables.MAX_ROOT_DECODED]
    nonce: uint256
    signature: Bytes[MAX_SIGNATURE]
    taskFee: uint256
    user: address


# @dev Decoding accepts more than 65 bytes, so that a longer signature is invalid instead of undecodable.
MAX_SIGNATURE: constant(uint256) = 512

NAME_HASH: constant(bytes32) = keccak256("0G Fine-Tuning Serving")
MESSAGE_TYPEHASH: constant(bytes32) = keccak256(
    "VerifierMessage(string id,bytes encryptedSecret,bytes modelRootHash,uint256 nonce,uint256 taskFee,address user)"
)


@internal
@view
def _signed_by(signer: address, message: VerifierInput) -> bool:
    """
    @dev Returns whether the signer signed this message. Strings and bytes are included by their hashes.
    """
    if len(message.signature) > tee.MAX_SIGNATURE:
        return False
    domain: bytes32 = tee._domain(NAME_HASH)
    struct_hash: bytes32 = keccak256(
        abi_encode(
            MESSAGE_TYPEHASH,
            keccak256(message.id),
            keccak256(message.encryptedSecret),
            keccak256(message.modelRootHash),
            message.nonce,
            message.taskFee,
            message.user,
        )
    )
    return tee._signed_by(
        signer,
        keccak256(concat(x"1901", domain, struct_hash)),
        convert(message.signature, Bytes[tee.MAX_SIGNATURE]),
    )
