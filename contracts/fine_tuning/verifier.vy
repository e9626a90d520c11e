# pragma version 0.4.3
# pragma evm-version cancun
"""
@title What a fine-tuning provider's TEE signs
@notice The EIP-712 message `VerifierMessage`, and the error for a settlement that does not verify.
@dev How money is lost here: a part of a settlement that is not in the message could be signed for one task and paid
     for another; everything but the provider and the signature is in it. The provider is not, because clients sign it
     so: a signer that is confirmed for two providers settles for both with one signature, where the user has an
     account with both and they deliver the same.
     How the owner prevents it: by confirming a signer for one provider only, whose it is shown to be.
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


# @dev Far longer than any signature, so that one of wrong length is wrong and not undecodable.
MAX_SIGNATURE: constant(uint256) = 512

NAME_HASH: constant(bytes32) = keccak256("0G Fine-Tuning Serving")
MESSAGE_TYPEHASH: constant(bytes32) = keccak256(
    "VerifierMessage(string id,bytes encryptedSecret,bytes modelRootHash,uint256 nonce,uint256 taskFee,address user)"
)


@internal
@view
def _signed_by(signer: address, message: VerifierInput) -> bool:
    """
    @dev Whether the signer signed this message; text and bytes take part in it by their hashes.
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
