# SPDX-License-Identifier: Apache-2.0
"""The typed messages that a TEE signs, hashed as EIP-712 says.

| message | contract | signs |
|---|---|---|
| TEESettlement | inference | one user's settlement |
| TEESettlementBatch | inference | all rows of a batch at once |
| VerifierMessage | fine-tuning | one deliverable's fee |

Nothing is converted on the way: a value of another type, length or range than the type string says is refused
(libraries that pad a 31-byte value to bytes32 sign something else than what was meant).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, Protocol

from serving_network.addresses import is_checksum_address
from serving_network.errors import InvalidInput
from serving_network.hashing import keccak

INFERENCE_NAME: Final = "0G Inference Serving"
FINE_TUNING_NAME: Final = "0G Fine-Tuning Serving"
VERSION: Final = "1"

DOMAIN_TYPE: Final = "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
SETTLEMENT_TYPE: Final = (
    "TEESettlement(bytes32 requestsHash,uint256 nonce,address provider,address user,uint256 totalFee)"
)
USER_SETTLEMENT_TYPE: Final = "UserSettlement(address user,uint256 totalFee,uint256 nonce,bytes32 requestsHash)"
BATCH_TYPE: Final = "TEESettlementBatch(address provider,UserSettlement[] settlements)" + USER_SETTLEMENT_TYPE
VERIFIER_TYPE: Final = (
    "VerifierMessage(string id,bytes encryptedSecret,bytes modelRootHash,uint256 nonce,uint256 taskFee,address user)"
)


class MalformedMessage(InvalidInput):
    """A value does not fit the field of the message that it is meant for."""


def uint(value: int, name: str, bits: int = 256) -> bytes:
    """The word of an unsigned integer of `bits` bits. Raises MalformedMessage."""
    if type(value) is not int or value < 0 or value >> bits:
        raise MalformedMessage(f"{name} is not a whole number of {bits} bits: {value!r}.")
    return value.to_bytes(32, "big")


@lru_cache(maxsize=1 << 14)
def address_word(value: str, name: str) -> bytes:
    """The word of an address. Raises MalformedMessage if it is not spelled with its checksum."""
    if not isinstance(value, str) or not is_checksum_address(value):
        raise MalformedMessage(f"{name} is not an address with its checksum: {value!r}.")
    return bytes(12) + bytes.fromhex(value[2:])


def bytes32(value: bytes, name: str) -> bytes:
    """The word of a bytes32. Raises MalformedMessage."""
    if not isinstance(value, bytes) or len(value) != 32:
        raise MalformedMessage(f"{name} is not exactly 32 bytes: {value!r}.")
    return value


def _bytes(value: bytes, name: str) -> bytes:
    if not isinstance(value, bytes):
        raise MalformedMessage(f"{name} is not bytes: {value!r}.")
    return keccak(value)


def _string(value: str, name: str) -> bytes:
    try:
        return keccak(value.encode("utf-8"))
    except (AttributeError, UnicodeEncodeError) as error:
        raise MalformedMessage(f"{name} is not text: {value!r}.") from error


_DOMAIN_TYPEHASH = keccak(DOMAIN_TYPE.encode())
_SETTLEMENT_TYPEHASH = keccak(SETTLEMENT_TYPE.encode())
_USER_SETTLEMENT_TYPEHASH = keccak(USER_SETTLEMENT_TYPE.encode())
_BATCH_TYPEHASH = keccak(BATCH_TYPE.encode())
_VERIFIER_TYPEHASH = keccak(VERIFIER_TYPE.encode())


class Message(Protocol):
    """Anything that can be signed under a domain."""

    def struct_hash(self) -> bytes:
        """EIP-712's hashStruct: 32 bytes. Raises MalformedMessage."""
        ...


@dataclass(frozen=True, slots=True)
class UserSettlement:
    """What one user owes for a set of requests: `total_fee` in wei, `requests_hash` of exactly 32 bytes."""

    user: str
    total_fee: int
    nonce: int
    requests_hash: bytes

    def struct_hash(self) -> bytes:
        return keccak(
            _USER_SETTLEMENT_TYPEHASH
            + address_word(self.user, "user")
            + uint(self.total_fee, "totalFee")
            + uint(self.nonce, "nonce")
            + bytes32(self.requests_hash, "requestsHash")
        )


@dataclass(frozen=True, slots=True)
class TEESettlement:
    """One user's settlement with its provider, signed on its own."""

    provider: str
    settlement: UserSettlement

    def struct_hash(self) -> bytes:
        row = self.settlement
        return keccak(
            _SETTLEMENT_TYPEHASH
            + bytes32(row.requests_hash, "requestsHash")
            + uint(row.nonce, "nonce")
            + address_word(self.provider, "provider")
            + address_word(row.user, "user")
            + uint(row.total_fee, "totalFee")
        )


@dataclass(frozen=True, slots=True)
class TEESettlementBatch:
    """Many users' settlements with one provider, under one signature."""

    provider: str
    settlements: Sequence[UserSettlement]

    def struct_hash(self) -> bytes:
        rows = keccak(b"".join(row.struct_hash() for row in self.settlements))
        return keccak(_BATCH_TYPEHASH + address_word(self.provider, "provider") + rows)


@dataclass(frozen=True, slots=True)
class VerifierMessage:
    """The fee of one fine-tuning deliverable: `task_fee` in wei."""

    id: str
    encrypted_secret: bytes
    model_root_hash: bytes
    nonce: int
    task_fee: int
    user: str

    def struct_hash(self) -> bytes:
        return keccak(
            _VERIFIER_TYPEHASH
            + _string(self.id, "id")
            + _bytes(self.encrypted_secret, "encryptedSecret")
            + _bytes(self.model_root_hash, "modelRootHash")
            + uint(self.nonce, "nonce")
            + uint(self.task_fee, "taskFee")
            + address_word(self.user, "user")
        )


class Domain:
    """The contract and the chain that signatures are bound to. `contract` is the front's address."""

    def __init__(self, name: str, chain_id: int, contract: str) -> None:
        self.name = name
        self.chain_id = chain_id
        self.contract = contract
        self.separator = keccak(
            _DOMAIN_TYPEHASH
            + _string(name, "name")
            + _string(VERSION, "version")
            + uint(chain_id, "chainId")
            + address_word(contract, "verifyingContract")
        )

    def digest(self, message: Message) -> bytes:
        """The 32 bytes to sign. Raises MalformedMessage if a field does not fit."""
        return keccak(b"\x19\x01" + self.separator + message.struct_hash())


_DOMAIN_FIELDS: Final = [
    {"name": "name", "type": "string"},
    {"name": "version", "type": "string"},
    {"name": "chainId", "type": "uint256"},
    {"name": "verifyingContract", "type": "address"},
]
_VERIFIER_FIELDS: Final = [
    {"name": "id", "type": "string"},
    {"name": "encryptedSecret", "type": "bytes"},
    {"name": "modelRootHash", "type": "bytes"},
    {"name": "nonce", "type": "uint256"},
    {"name": "taskFee", "type": "uint256"},
    {"name": "user", "type": "address"},
]


def verifier_typed_data(chain_id: int, contract: str, message: VerifierMessage) -> dict[str, Any]:
    """`message` as the full typed data that wallets and `Signer.sign_typed_data` take. Raises MalformedMessage.

    `contract` is the fine-tuning front.
    """
    message.struct_hash()  # refuses what libraries would silently convert
    return {
        "types": {"EIP712Domain": _DOMAIN_FIELDS, "VerifierMessage": _VERIFIER_FIELDS},
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
