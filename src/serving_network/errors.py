# SPDX-License-Identifier: Apache-2.0
"""Every failure that this package reports, as one tree of exceptions.

A class that another module defines is shown with that module: "files: ..." stands for `serving_network.files`.

ServingError                     a failure with its cause and one next step
├── InvalidInput                 the caller passed something that cannot be used
│   ├── NotAnAmount              not an exact amount of coins
│   ├── NotAnAddress             not an address, or its checksum is wrong
│   ├── UnencodableArguments     contracts.codec: arguments that do not fit the function
│   ├── CannotVoid               settlement.journal.decisions: a request that cannot be voided
│   ├── InvalidAnswerSignature   messages.answer_signatures: the signature does not cover request and answer
│   ├── InvalidBill              clients.bills.exported: a file that is not a bill
│   ├── InvalidQuote             messages.quotes: the report of a TEE cannot be read
│   ├── InvalidReceipt           messages.receipts: a receipt that proves nothing
│   ├── InvalidToken             messages.session_tokens: the header does not authorise its bearer
│   ├── MalformedMessage         messages.typed_data: a value that does not fit its field
│   ├── NobodyToAsk              cli.console.prompts: a confirmation is needed, and there is no terminal to ask on
│   ├── RequestRefused           gateway.refusals: the gateway does not serve a request
│   │   └── UpstreamRefused      gateway.upstream: a model server does not serve a request
│   ├── SignerOfAnother          clients.owner: another provider has registered the same TEE signer
│   └── UnusableLog              usage_logs.reader: a usage log that cannot be read at all
├── ConfigurationError           the configuration file, the address book or the environment cannot be used
│   ├── UnknownName              no network, key, service or person has this name
│   ├── ArtifactError            contracts.artifacts: a compiled contract is missing, damaged or stale
│   ├── BillUnusable             store.bills: the file with a user's receipts cannot be used
│   ├── PortUnavailable          localchain.server: the port of a local network is taken
│   ├── QuoteLibraryMissing      clients.attestation: the extra that verifies quotes is not installed
│   ├── SignerChanged            clients.buying.provider: another TEE signer than the user trusts, or not confirmed
│   └── TokenizerUnusable        tokenizing.tokenizer: the tokenizer's file or library cannot be used
├── KeyFailure                   no key is available to sign with
│   ├── KeyLocked                a password is needed and there is no way to ask for it
│   ├── TeeUnavailable           wallet.dstack: the TEE did not provide its key or its quote
│   └── WrongPassword            the password does not open the keystore
├── NodeFailure                  a node or a provider's server could not be reached, or its answer makes no sense
│   ├── NodeUnreachable          no answer after all retries
│   ├── WrongChain               the node serves another chain than the expected one
│   ├── RpcError                 the node answered with an error
│   ├── MalformedData            contracts.codec: bytes that do not match the ABI
│   ├── CollateralUnavailable    clients.attestation: Intel's collateral could not be fetched
│   ├── Behind                   explorer.index.reconciling: the chain has lost the index's last block
│   ├── Disagreement             clients.settlements: the node contradicts itself
│   └── ProviderFailure          clients.bills.fetching: the provider's server failed
│       └── AnswerUnproven       clients.buying.answers: the provider did not sign what it delivered
├── TransactionFailure           a transaction was not created, not sent or not mined
│   ├── NotEnoughCoins           the sender cannot pay value and gas
│   ├── OutOfGas                 mined, but its gas limit was too low
│   ├── TransactionPending       sent, but not mined in time
│   ├── TransactionDropped       can no longer be mined: another transaction used its nonce
│   ├── GasPriceAboveCap         settlement.live: the fee per gas would exceed the run's limit
│   ├── Interrupted              cli.console.interrupt: the command was interrupted
│   ├── TooMuchGas               settlement.chain: a batch that needs more gas than a transaction may use
│   ├── Underpriced              settlement.chain: a replacement whose fee is too low
│   ├── UnknownTransactions      settlement.wallet_nonces: pending transactions that are not in the journal
│   └── WalletRefusesCoins       settlement.live: the provider's wallet does not accept the payment
├── ContractError                a contract refused
│   ├── DeclaredError            contracts.errors.base: one subclass per error of the wire format
│   ├── RevertedWithMessage      contracts.reverts: a plain message without a class of its own
│   ├── ContractPanic            contracts.reverts: an internal fault, such as an arithmetic overflow
│   ├── RevertedWithoutReason    contracts.reverts: no revert data
│   ├── UnknownContractError     contracts.reverts: revert data that matches no error of the network
│   └── OldStyleCall             contracts.old_calls: a call of the old version of the network
├── DeploymentError              deployment.errors: a deployment, upgrade or handover did not finish
│   ├── RecordProblem            deployment.errors: a network's file cannot be used
│   ├── PlanRefused              deployment.errors: a change that must not be made; nothing was sent
│   │   ├── LayoutRefused        deployment.errors: the new implementation would misread stored words
│   │   ├── ForeignProxy         deployment.errors: a beacon or front whose code this project did not build
│   │   ├── NotTheOwner          deployment.errors: the key in use may not do this step
│   │   └── PlanOutdated         deployment.errors: the plan differs from the one that was shown
│   ├── NotAsRecorded            deployment.errors: the chain differs from the network's file
│   ├── RehearsalFailed          deployment.errors: the change failed on a copy of the chain's state
│   ├── VerifierFailed           deployment.errors: a verification service refused or failed
│   ├── NothingToCompile         deployment.errors: the sources or the compiler are not on this machine
│   └── NotReproduced            deployment.errors: the sources do not compile to the package's code
├── JournalFailure               store.opening: the journal cannot be used
│   ├── JournalOfAnother         store.opening: the journal of another chain, contract or provider
│   └── OtherVersion             store.opening: the journal of an earlier or later version of this program
├── IndexFailure                 explorer.index.opening: the index cannot be used
├── GatewayNotReady              gateway.readiness: the gateway cannot sell anything as it is set up
│   └── UpstreamUnavailable      gateway.running: a model server does not serve requests
├── GatewayNotRunning            gateway.control: no gateway runs on this store
├── JournalOfGateway             settlement.runner: the journal has receipts, and a usage log has none
├── BatchFailed                  settlement.following: a batch was mined but failed as a whole
├── Declined                     cli.console.prompts: the person answered no
├── LimitReached                 clients.buying.funding: the account needs more than the limit allows
├── NotAuthenticated             clients.buying.endpoint: a request with another API key
├── NoService                    settlement.runner: the provider has not registered a service
├── QuoteNotGenuine              cli.connect: the quote of a provider's TEE proves nothing
├── RunInProgress                files: another process holds the lock
└── WrongSigner                  settlement.runner: the TEE key is not the one that the service registered
"""

from __future__ import annotations

from typing import Any, ClassVar

ASK_ANOTHER_NODE = "Try again, or use another node: serving network list"


class ServingError(Exception):
    """A failure that a person or a program can act on.

    `str(error)` says what failed. `cause` says why, if known. `next_step` is the one thing to do now, usually a
    command. `exit_code` is the exit code of a command that ends with this failure; 1 means a bug in this program.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, cause: str | None = None, next_step: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.cause = cause
        self.next_step = next_step

    @property
    def lines(self) -> tuple[str, ...]:
        """The message for a terminal: one line, unless this program composed it of several."""
        return (str(self),)

    def as_dict(self) -> dict[str, Any]:
        """The failure as JSON values: `error` (the class name), `message`, and `cause` and `next_step` if known."""
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


class NotAnAddress(InvalidInput, ValueError):
    """The value is not an address, or its checksum is wrong."""


class ConfigurationError(ServingError):
    """The configuration file, the address book or the environment cannot be used."""

    exit_code: ClassVar[int] = 3


class UnknownName(ConfigurationError):
    """No network, key, service or person has this name."""


class KeyFailure(ServingError):
    """No key is available to sign with."""

    exit_code: ClassVar[int] = 4


class KeyLocked(KeyFailure):
    """A password is needed and there is no way to ask for it."""


class WrongPassword(KeyFailure):
    """The password does not open the keystore."""


class NodeFailure(ServingError):
    """The node could not be reached, or its answer makes no sense."""

    exit_code: ClassVar[int] = 5

    def __init__(self, message: str, *, cause: str | None = None, next_step: str | None = None) -> None:
        super().__init__(message, cause=cause, next_step=next_step or ASK_ANOTHER_NODE)


class NodeUnreachable(NodeFailure):
    """No answer from any of the node's addresses after all retries."""


class WrongChain(NodeFailure):
    """The node serves another chain than the expected one."""

    def __init__(self, expected: int, actual: int, where: str) -> None:
        super().__init__(
            f"{where} serves chain {actual}, not chain {expected}.",
            cause="Nothing was sent, because the same keys and addresses hold other coins on another chain.",
            next_step="serving network list",
        )
        self.expected = expected
        self.actual = actual


class RpcError(NodeFailure):
    """The node answered with a JSON-RPC error.

    `code` is the JSON-RPC error code. `data` is what the node attached: for a revert, the revert data as a 0x string.
    """

    def __init__(self, code: int, message: str, data: Any = None) -> None:
        super().__init__(message)
        self.code = code
        self.data = data


class TransactionFailure(ServingError):
    """A transaction was not created, not sent or not mined. `transaction` is its hash, if it has one."""

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

    def __init__(self, message: str, *, address: str, has: int, needs: int, next_step: str) -> None:
        super().__init__(message, next_step=next_step)
        self.address = address
        self.has = has
        self.needs = needs


class OutOfGas(TransactionFailure):
    """The transaction was mined and failed because its gas limit was too low."""


class TransactionPending(TransactionFailure):
    """The transaction was sent but is not mined yet. It can still take effect."""

    exit_code: ClassVar[int] = 8


class TransactionDropped(TransactionFailure):
    """The transaction can no longer take effect: another transaction used its nonce."""


class ContractError(ServingError):
    """A contract refused. `data` is the raw revert data; `transaction` is the hash, if a transaction was mined."""

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
