"""The TEE's messages as the full typed data (EIP-712) that wallets and `Signer.sign_typed_data` take."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from serving_network.messages.typed_data import FINE_TUNING_NAME, VERSION

if TYPE_CHECKING:
    from serving_network.messages.typed_data import VerifierMessage

DOMAIN = [
    {"name": "name", "type": "string"},
    {"name": "version", "type": "string"},
    {"name": "chainId", "type": "uint256"},
    {"name": "verifyingContract", "type": "address"},
]
VERIFIER_MESSAGE = [
    {"name": "id", "type": "string"},
    {"name": "encryptedSecret", "type": "bytes"},
    {"name": "modelRootHash", "type": "bytes"},
    {"name": "nonce", "type": "uint256"},
    {"name": "taskFee", "type": "uint256"},
    {"name": "user", "type": "address"},
]


def verifier_typed_data(chain_id: int, contract: str, message: VerifierMessage) -> dict[str, Any]:
    """The settlement of one deliverable at the fine-tuning front `contract`. Raises MalformedMessage."""
    message.struct_hash()  # refuses what libraries would silently convert
    return {
        "types": {"EIP712Domain": DOMAIN, "VerifierMessage": VERIFIER_MESSAGE},
        "primaryType": "VerifierMessage",
        "domain": {
            "name": FINE_TUNING_NAME,
            "version": VERSION,
            "chainId": chain_id,
            "verifyingContract": contract,
        },
        "message": {
            "id": message.id,
            "encryptedSecret": message.encrypted_secret,
            "modelRootHash": message.model_root_hash,
            "nonce": message.nonce,
            "taskFee": message.task_fee,
            "user": message.user,
        },
    }
