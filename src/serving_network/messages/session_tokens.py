# SPDX-License-Identifier: Apache-2.0
"""Session tokens: how a user shows a provider who is asking, and how a provider checks it.

    Authorization: Bearer app-sk-<base64 of  json | "|" | signature>

json holds address, provider, timestamp and expiresAt (milliseconds since 1970, 0 for never), nonce, generation
and tokenId; signature is personal_sign over the 32 bytes of keccak(json), as 0x and 130 digits. Token 255 is
for one session of at most 24 hours; tokens 0 to 254 are API keys that can be revoked one by one on the chain.
"""

from __future__ import annotations

import base64
import json
import re
import secrets
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar

from serving_network.addresses import to_checksum_address
from serving_network.errors import ConfigurationError, InvalidInput
from serving_network.files import SHORT_WAIT, lock, write_whole
from serving_network.hashing import keccak
from serving_network.signing import recovered_signer
from serving_network.untrusted import parse_json, printable, reason_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from serving_network.contracts.models import Account
    from serving_network.signing import Signer

SESSION_ID = 255
DAY_MS = 24 * 60 * 60 * 1000
PREFIX = "app-sk-"
LONGEST_HEADER = 8192
MAX_CLOCK_SKEW_MS = 5 * 60 * 1000
EXPIRY_GRACE_MS = 999

_PERSONAL_MESSAGE = b"\x19Ethereum Signed Message:\n32"
_ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}")
_MAX_MS = 2**53 - 1
_MAX_NONCE = 256
_MAX_GENERATION = 2**64 - 1


class InvalidToken(InvalidInput):
    """The header does not authenticate its bearer. `str(error)` says why; `status` is the HTTP status to answer."""

    status: ClassVar[int] = 401

    def __init__(self, message: str) -> None:
        super().__init__(message, next_step="The user makes a new one: serving token make PROVIDER")


@dataclass(frozen=True)
class SessionToken:
    """A token's content. Times are milliseconds since 1970; `expires_at` 0 means never."""

    address: str
    provider: str
    timestamp: int
    expires_at: int
    nonce: str
    generation: int
    token_id: int

    def message(self) -> str:
        """The JSON text that is signed, in the order and spacing of the live clients."""
        content = {
            "address": self.address,
            "provider": self.provider,
            "timestamp": self.timestamp,
            "expiresAt": self.expires_at,
            "nonce": self.nonce,
            "generation": self.generation,
            "tokenId": self.token_id,
        }
        return json.dumps(content, separators=(",", ":"))


def new_token(account: Account, now_ms: int, *, token_id: int, lifetime_ms: int) -> SessionToken:
    """A token for this account; `lifetime_ms` 0 means that it never expires.

    Raises InvalidInput if no provider would accept it.
    """
    if not 0 <= token_id <= SESSION_ID:
        raise InvalidInput(f"A token has an id of 0 to {SESSION_ID}, not {token_id}.")
    if lifetime_ms < 0 or (token_id == SESSION_ID and not 0 < lifetime_ms <= DAY_MS):
        raise InvalidInput(
            "A session lasts at most 24 hours.",
            next_step="Make an API key for more: serving token make PROVIDER --days 30",
        )
    if account.revoked_bitmap >> token_id & 1:
        if token_id == SESSION_ID:
            raise InvalidInput(
                f"Session tokens for {account.provider} are revoked.",
                cause=f"You revoked their id, {SESSION_ID}. Revoking every token frees all ids again.",
                next_step=f"serving token revoke-all {account.provider}",
            )
        raise InvalidInput(f"Token {token_id} is revoked.", next_step="Omit the id to use a free one.")
    return SessionToken(
        address=account.user,
        provider=account.provider,
        timestamp=now_ms,
        expires_at=now_ms + lifetime_ms if lifetime_ms else 0,
        nonce=secrets.token_hex(16),
        generation=account.generation,
        token_id=token_id,
    )


def sign_token(token: SessionToken, signer: Signer) -> str:
    """The value of the Authorization header. Anybody who has it can spend the user's balance with this provider."""
    message = token.message()
    signature = "0x" + signer.sign_message(keccak(message.encode())).hex()
    return f"Bearer {PREFIX}{base64.b64encode(f'{message}|{signature}'.encode()).decode()}"


def read_token(header: str) -> tuple[SessionToken, str]:
    """The token in a header and the address that signed it; neither is checked yet. Raises InvalidToken."""
    if len(header) > LONGEST_HEADER:
        raise InvalidToken(f"The Authorization header is longer than {LONGEST_HEADER} characters.")
    scheme, _, text = header.strip().partition(" ")
    if scheme.lower() != "bearer":
        text = header
    text = text.strip()
    if not text.startswith(PREFIX):
        raise InvalidToken(f"The header does not hold a token: it must begin with 'Bearer {PREFIX}'.")
    try:
        message, _, signature = base64.b64decode(text.removeprefix(PREFIX), validate=True).decode().partition("|")
        raw_signature = bytes.fromhex(signature.removeprefix("0x"))
        token = _read_message(parse_json(message))
    except InvalidToken:
        raise
    except (ValueError, TypeError) as error:
        raise InvalidToken(f"The token cannot be read: {printable(str(error))}.") from error
    signer = recovered_signer(keccak(_PERSONAL_MESSAGE + keccak(message.encode())), raw_signature)
    if signer is None:
        raise InvalidToken("The token's signature is malformed.")
    return token, signer


def check_bearer(token: SessionToken, signer: str, provider: str, now_ms: int) -> None:
    """Check what needs no chain: signature, provider and times. Raises InvalidToken.

    A token counts to the end of the second in which it expires, as with the live providers.
    """
    if signer != token.address:
        raise InvalidToken(f"The token is of {token.address}, but {signer} signed it.")
    if token.provider.lower() != provider.lower():
        raise InvalidToken(f"The token is for {token.provider}, not for {provider}.")
    if token.timestamp > now_ms + MAX_CLOCK_SKEW_MS:
        raise InvalidToken("The token was made in the future: check the clock of the machine that made it.")
    if token.expires_at != 0 and now_ms > token.expires_at + EXPIRY_GRACE_MS:
        raise InvalidToken("The token has expired.")
    if token.token_id == SESSION_ID and not 0 < token.expires_at - token.timestamp <= DAY_MS:
        raise InvalidToken("The token is a session of more than 24 hours.")


def check_revocation(token: SessionToken, account: Account) -> None:
    """Check that the token counts for the user's account with the provider. Raises InvalidToken."""
    if token.generation < account.generation:
        raise InvalidToken(f"All tokens of generation {token.generation} are revoked.")
    if token.generation > account.generation:
        raise InvalidToken(f"The token is of generation {token.generation}, the account of {account.generation}.")
    if account.revoked_bitmap >> token.token_id & 1:
        raise InvalidToken(f"Token {token.token_id} is revoked.")


def check_token(token: SessionToken, signer: str, provider: str, account: Account | None, now_ms: int) -> None:
    """Whether `provider` may serve the bearer, given the user's account with it. Raises InvalidToken."""
    check_bearer(token, signer, provider, now_ms)
    if account is None:
        raise InvalidToken(f"{token.address} has no account with {provider}.")
    check_revocation(token, account)


@dataclass(frozen=True)
class IssuedToken:
    """What is remembered of an API key that was made here; not the key itself."""

    chain_id: int
    service: str
    user: str
    provider: str
    token_id: int
    generation: int
    timestamp: int
    expires_at: int


class TokenBook:
    """The API keys that were made on this machine, in a file, so that no id is handed out twice."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def issued(self) -> list[IssuedToken]:
        """All that were made, oldest first. Raises ConfigurationError for a damaged file."""
        try:
            return [_issued(entry) for entry in parse_json(self._path.read_bytes())]
        except FileNotFoundError:
            return []
        except (OSError, ValueError, TypeError) as error:
            raise ConfigurationError(
                f"{self._path} cannot be read.",
                cause=f"{reason_of(error)}.",
                next_step="Move it away, then make every API key anew: serving token revoke-all PROVIDER",
            ) from error

    def remember(self, token: IssuedToken) -> None:
        """Add an API key. Call it while the book is `locked`."""
        self._write([*self.issued(), token])

    def forget(self, token: IssuedToken) -> None:
        """Remove an API key that was not signed after all. Call it while the book is `locked`."""
        self._write([one for one in self.issued() if one != token])

    def _write(self, tokens: list[IssuedToken]) -> None:
        write_whole(self._path, json.dumps([vars(one) for one in tokens], indent=1))

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes out from choosing an id until the key with it is in the book. Raises RunInProgress."""
        busy = "Another process is making an API key."
        with lock(self._path.with_name(f".{self._path.name}.lock"), busy, wait=SHORT_WAIT):
            yield

    def in_use(self, chain_id: int, account: Account, now_ms: int) -> dict[int, IssuedToken]:
        """The live API keys of this account by id: not expired and not revoked."""
        return {
            one.token_id: one
            for one in self.issued()
            if (one.chain_id, one.service, one.user, one.provider, one.generation)
            == (chain_id, account.service, account.user, account.provider, account.generation)
            and (one.expires_at == 0 or one.expires_at > now_ms)
            and not account.revoked_bitmap >> one.token_id & 1
        }

    def free_id(self, chain_id: int, account: Account, now_ms: int) -> int:
        """The lowest id that is neither revoked nor in use. Raises InvalidInput when there is none."""
        taken = self.in_use(chain_id, account, now_ms)
        for token_id in range(SESSION_ID):
            if token_id not in taken and not account.revoked_bitmap >> token_id & 1:
                return token_id
        raise InvalidInput(
            f"All {SESSION_ID} ids of API keys are revoked or in use.",
            next_step=f"serving token revoke-all {account.provider}",
        )


def _issued(entry: Any) -> IssuedToken:
    """Raises TypeError for an entry that this program did not write."""
    issued = IssuedToken(**entry)
    for one in fields(IssuedToken):
        if type(getattr(issued, one.name)).__name__ != one.type:
            raise TypeError(f"{one.name} is {getattr(issued, one.name)!r}")
    if not 0 <= issued.token_id <= SESSION_ID:
        raise TypeError(f"there is no token {issued.token_id}")
    return issued


def _read_message(content: Any) -> SessionToken:
    kinds = {
        "address": str,
        "provider": str,
        "timestamp": int,
        "expiresAt": int,
        "nonce": str,
        "generation": int,
        "tokenId": int,
    }
    if not isinstance(content, dict) or any(type(content.get(name)) is not kind for name, kind in kinds.items()):
        raise InvalidToken("The token lacks a field, or a field has the wrong type.")
    if not 0 <= content["tokenId"] <= SESSION_ID:
        raise InvalidToken(f"The token's id {content['tokenId']} is not one of 0 to {SESSION_ID}.")
    if not (0 <= content["timestamp"] <= _MAX_MS and 0 <= content["expiresAt"] <= _MAX_MS):
        raise InvalidToken("The token's times are not milliseconds since 1970.")
    if not 0 <= content["generation"] <= _MAX_GENERATION or len(content["nonce"]) > _MAX_NONCE:
        raise InvalidToken("The token's generation or nonce is too large.")
    if not (_ADDRESS.fullmatch(content["address"]) and _ADDRESS.fullmatch(content["provider"])):
        raise InvalidToken("The token's address or provider is not an address.")
    return SessionToken(
        to_checksum_address(content["address"]),
        to_checksum_address(content["provider"]),
        content["timestamp"],
        content["expiresAt"],
        content["nonce"],
        content["generation"],
        content["tokenId"],
    )
