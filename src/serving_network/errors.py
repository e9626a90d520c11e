# SPDX-License-Identifier: Apache-2.0
"""Every failure that this package reports, as one tree of exceptions.

ServingError                     a failure with its cause and one next step
├── InvalidInput                 what the caller gave cannot be used
│   ├── NotAnAmount              not an exact amount of coins
│   ├── NotAnAddress             not an address, or its checksum is wrong
│   └── SignerOfAnother          a TEE signer that two providers have registered
├── ConfigurationError           the config file, the address book or the environment
│   ├── UnknownName              no network, key, service or person of that name
│   └── PortUnavailable          the port of a local network is taken
├── KeyFailure                   no key could be had
│   ├── KeyLocked                a password is needed and there is no way to ask for it
│   └── WrongPassword            the password does not open the keystore
├── NodeFailure                  the node could not be asked, or answered nonsense
│   ├── NodeUnreachable          no answer after all retries
│   ├── WrongChain               the node serves another chain than the one expected
│   └── RpcError                 the node answered with an error
├── TransactionFailure           a transaction was not made, not sent or not mined
│   ├── NotEnoughCoins           the sender cannot pay value and gas
│   ├── OutOfGas                 mined, but its gas limit was too low
│   ├── TransactionPending       sent, but not mined in time
│   └── TransactionDropped       neither waiting nor mined: another one took its nonce
└── ContractError                a contract refused; one class per error of the wire format,
                                 see `serving_network.contracts.errors`
"""

from __future__ import annotations

from typing import Any, ClassVar

ASK_ANOTHER_NODE = "Try again, or use another node: serving network list"


class ServingError(Exception):
    """A failure that a person or a program can act upon.

    `str(error)` says what failed. `cause` says why, if known. `next_step` is the one thing to do now, usually a
    command. `exit_code` is that of a command which ends with this failure; 1 means a fault of this program.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, cause: str | None = None, next_step: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.cause = cause
        self.next_step = next_step

    def as_dict(self) -> dict[str, Any]:
        """The failure for programs: `error` (class name), `message`, and `cause` and `next_step` where known."""
        content = {"error": type(self).__name__, "message": self.message}
        if self.cause:
            content["cause"] = self.cause
        if self.next_step:
            content["next_step"] = self.next_step
        return content


class InvalidInput(ServingError):
    """The caller passed something that cannot be used."""

    exit_code: ClassVar[int] = 2


class NotAnAmount(InvalidInput):
    """The text is not an exact amount of coins."""


class NotAnAddress(InvalidInput):
    """The text is not an address, or its checksum is wrong."""


class ConfigurationError(ServingError):
    """The configuration file, the address book or the environment cannot be used as it is."""

    exit_code: ClassVar[int] = 3


class UnknownName(ConfigurationError):
    """No network, key, service or person is known by this name."""


class KeyFailure(ServingError):
    """No key is available to sign with."""

    exit_code: ClassVar[int] = 4


class KeyLocked(KeyFailure):
    """A password is needed and there is no way to ask for it."""


class WrongPassword(KeyFailure):
    """The password does not open the keystore."""


class NodeFailure(ServingError):
    """The node could not be reached, or returned nonsense."""

    exit_code: ClassVar[int] = 5

    def __init__(self, message: str, *, cause: str | None = None, next_step: str | None = None) -> None:
        super().__init__(message, cause=cause, next_step=next_step or ASK_ANOTHER_NODE)


class NodeUnreachable(NodeFailure):
    """No answer from any of the node's addresses after all retries."""


class WrongChain(NodeFailure):
    """The node serves another chain than the one that was expected."""

    def __init__(self, expected: int, actual: int, where: str) -> None:
        super().__init__(
            f"{where} serves chain {actual}, not chain {expected}.",
            cause="Nothing was sent: the same keys and addresses mean other money on another chain.",
            next_step="serving network list",
        )
        self.expected = expected
        self.actual = actual


class RpcError(NodeFailure):
    """The node answered with a JSON-RPC error.

    `code` is the JSON-RPC error code and `data` what the node attached, for a revert the revert data as
    a 0x string.
    """

    def __init__(self, code: int, message: str, data: Any = None) -> None:
        super().__init__(message)
        self.code = code
        self.data = data


class TransactionFailure(ServingError):
    """A transaction was not made, not sent or not mined. `transaction` is its hash, if it has one."""

    exit_code: ClassVar[int] = 6

    def __init__(
        self,
        message: str,
        *,
        transaction: str | None = None,
        cause: str | None = None,
        next_step: str | None = None,
    ) -> None:
        super().__init__(message, cause=cause, next_step=next_step)
        self.transaction = transaction

    def as_dict(self) -> dict[str, Any]:
        content = super().as_dict()
        if self.transaction:
            content["transaction"] = self.transaction
        return content


class NotEnoughCoins(TransactionFailure):
    """The sender's wallet cannot pay the value and the gas. Amounts are in wei."""

    def __init__(self, message: str, *, address: str, has: int, needs: int) -> None:
        super().__init__(message, next_step=f"Send coins to {address}, then try again.")
        self.address = address
        self.has = has
        self.needs = needs


class OutOfGas(TransactionFailure):
    """The transaction was mined and failed because its gas limit was too low."""


class TransactionPending(TransactionFailure):
    """The transaction was sent but is not mined yet: it can still take effect."""

    exit_code: ClassVar[int] = 8


class TransactionDropped(TransactionFailure):
    """The transaction can no longer take effect: another one with its nonce was mined."""


class ContractError(ServingError):
    """A contract refused. `data` is the revert data as it came; `transaction` the hash if it was mined."""

    exit_code: ClassVar[int] = 7

    def __init__(self, message: str, *, data: bytes = b"", next_step: str | None = None) -> None:
        super().__init__(message, next_step=next_step)
        self.data = data
        self.transaction: str | None = None

    def as_dict(self) -> dict[str, Any]:
        content = super().as_dict()
        if self.transaction:
            content["transaction"] = self.transaction
        content["data"] = "0x" + self.data.hex()
        return content
