# SPDX-License-Identifier: Apache-2.0
"""What a TEE signs, hashed as EIP-712 says and put together by hand: a second opinion on the library's typed data.

Amounts in wei; addresses checksummed; a signature is 65 bytes r||s||v.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from eth_keys.datatypes import PrivateKey

from serving_network.addresses import to_checksum_address
from serving_network.hashing import keccak
from tests.evm import CHAIN_ID

ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141

DOMAIN = keccak(b"EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)")
SETTLEMENT = keccak(b"TEESettlement(bytes32 requestsHash,uint256 nonce,address provider,address user,uint256 totalFee)")
ROW = b"UserSettlement(address user,uint256 totalFee,uint256 nonce,bytes32 requestsHash)"
BATCH = keccak(b"TEESettlementBatch(address provider,UserSettlement[] settlements)" + ROW)
VERIFIER = keccak(
    b"VerifierMessage(string id,bytes encryptedSecret,bytes modelRootHash,uint256 nonce,uint256 taskFee,address user)"
)
INFERENCE = "0G Inference Serving"
FINE_TUNING = "0G Fine-Tuning Serving"


class Signer:
    """A key and its address."""

    def __init__(self, secret: int) -> None:
        self._key = PrivateKey(secret.to_bytes(32, "big"))
        self.address = to_checksum_address(self._key.public_key.to_canonical_address())

    def sign(self, digest: bytes) -> bytes:
        signature = self._key.sign_msg_hash(digest).to_bytes()
        return signature[:64] + bytes([signature[64] + 27])


def word(value: int | str | bytes) -> bytes:
    """One ABI word: a number, an address or 32 bytes."""
    if isinstance(value, bytes):
        return value
    return (int(value, 16) if isinstance(value, str) else value).to_bytes(32, "big")


def digest(name: str, contract: str, struct_hash: bytes, chain_id: int = CHAIN_ID, version: str = "1") -> bytes:
    return keccak(b"\x19\x01" + _domain(name, contract, chain_id, version) + struct_hash)


@lru_cache(maxsize=64)
def _domain(name: str, contract: str, chain_id: int, version: str) -> bytes:
    return keccak(DOMAIN + keccak(name.encode()) + keccak(version.encode()) + word(chain_id) + word(contract))


def settlement_hash(entry: Mapping[str, Any]) -> bytes:
    """Of an entry of settleFeesWithTEE."""
    fields = (entry[key] for key in ("requestsHash", "nonce", "provider", "user", "totalFee"))
    return keccak(SETTLEMENT + b"".join(map(word, fields)))


def batch_hash(provider: str, rows: Sequence[Mapping[str, Any]]) -> bytes:
    """Of the rows of settleBatchWithTEE."""
    hashes = (
        keccak(
            keccak(ROW)
            + word(row["userAndFee"] >> 96)
            + word(row["userAndFee"] & (2**96 - 1))
            + word(row["nonce"])
            + word(row["requestsHash"])
        )
        for row in rows
    )
    return keccak(BATCH + word(provider) + keccak(b"".join(hashes)))


def verifier_hash(task: Mapping[str, Any]) -> bytes:
    """Of the input of settleFees."""
    texts = (keccak(task["id"].encode()), keccak(task["encryptedSecret"]), keccak(task["modelRootHash"]))
    numbers = (task["nonce"], task["taskFee"], task["user"])
    return keccak(VERIFIER + b"".join(map(word, (*texts, *numbers))))


def malleated(signature: bytes) -> bytes:
    """The other signature of the same key over the same digest."""
    s = int.from_bytes(signature[32:64], "big")
    return signature[:32] + word(ORDER - s) + bytes([55 - signature[64]])
