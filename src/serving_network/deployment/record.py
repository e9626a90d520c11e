# SPDX-License-Identifier: Apache-2.0
"""The model of a record: the file `networks/NAME.json`, in which the tool describes the deployed network.

The file is committed and read by people: it has every contract with its addresses, arguments, compiler, hashes, storage
layout, owners and former implementations. `pending` is the journal of unfinished work. It is on disk before anything is
sent, so that the next run can resume after a crash.

Integer arguments of contracts are kept as text, because amounts in wei do not fit a JSON number.
"""

from typing import Annotated, Any, Final, Literal, Self

from pydantic import ConfigDict, Field, ModelWrapValidatorHandler, PrivateAttr, model_validator

from serving_network.deployment.errors import RecordProblem
from serving_network.deployment.spec import Address, Model
from serving_network.messages.transactions import SignedTransaction


class Open(Model):
    """A part of the record that changes while work goes on."""

    model_config = ConfigDict(extra="forbid", frozen=False, strict=True, validate_assignment=True)


Hash = Annotated[str, Field(pattern=r"^0x[0-9a-f]{64}$")]
Data = Annotated[str, Field(pattern=r"^0x(?:[0-9a-f]{2})*$")]
Count = Annotated[int, Field(ge=0, lt=2**64)]

DESCRIBED_BY_RELEASE_0_1: Final = frozenset(
    ("hash", "nonce", "gas", "max_fee_per_gas", "max_priority_fee_per_gas", "legacy")
)


class MinedTransaction(Model):
    """Where a transaction was mined, and who sent it."""

    transaction: Hash
    sender: Address
    nonce: Count
    block: Count
    block_hash: Hash
    gas_used: Count


class Code(Model):
    """One piece of deployed code.

    `artifact_hash` is the keccak of the creation code without arguments, `code_hash` that of the code at the address.
    """

    contract: str
    address: Address
    arguments: dict[str, str]
    mined: MinedTransaction
    artifact_hash: Hash
    code_hash: Hash


class Implementation(Code):
    """The code behind a front. `release` is the version of this package that deployed it, `replaced` the address of the
    implementation before it."""

    release: str
    compiler: dict[str, Any]
    storage_layout: dict[str, Any]
    replaced: Address | None = None


class Registration(Open):
    """How the ledger knows a service.

    Until `registered`, it waits for the ledger's owner. `transaction` is None if it was not sent by this tool.
    """

    type: str
    version: str
    description: str
    registered: bool = False
    recommended: bool = False
    transaction: Hash | None = None


class RecordedContract(Open):
    """One front with the contracts behind it. `initial` has the arguments of `initialize` by name. `clients` and
    `providers` are the compatible releases of client and provider software. `former` is sorted from the oldest.
    `prepared` is deployed and waits for the upgrade owner."""

    front: Code
    beacon: Code
    implementation: Implementation
    former: list[Implementation] = Field(default_factory=list)
    prepared: Implementation | None = None
    initial: dict[str, str]
    owner: Address
    upgrade_owner: Address
    clients: str
    providers: str
    registration: Registration | None = None


class SignedAttempt(Model):
    """A signed transaction that may have been broadcast. All attempts of a step have the same nonce.

    What it contains is decoded from `raw`. Records of release 0.1 also describe some of it and do not name the sender.
    Their description is compared with what is decoded, and left out when the record is written again.
    """

    sender: Address
    raw: Data

    _signed: SignedTransaction = PrivateAttr()

    @property
    def signed(self) -> SignedTransaction:
        return self._signed

    @model_validator(mode="wrap")
    @classmethod
    def _decode(cls, stored: Any, validated: ModelWrapValidatorHandler[Self]) -> Self:
        if not isinstance(stored, dict) or not isinstance(stored.get("raw"), str):
            return validated(stored)
        signed = SignedTransaction.decode(bytes.fromhex(stored["raw"].removeprefix("0x")), stored.get("sender"))
        described = {name: value for name, value in stored.items() if name in DESCRIBED_BY_RELEASE_0_1}
        if wrong := signed.differences(described):
            raise ValueError(f"the signed transaction has another {' and another '.join(wrong)}")
        attempt = validated(
            {"sender": signed.sender, "raw": stored["raw"]}
            | {name: value for name, value in stored.items() if name not in described}
        )
        attempt._signed = signed
        return attempt


class Step(Open):
    """One transaction of a plan.

    `contract` names the artifact that is created or called, `to` what is called. A value that begins with "@" stands
    for an address: "@ledger/front" is the front of the ledger, of this plan or of the record. `initial` has the
    arguments of `initialize` that a front passes on during its creation, and `behind` names the artifact that they are
    for. `gas` is a sufficient limit. `artifact_hash` is that of the code to create: a plan is not finished with other
    code than it was begun with.
    """

    id: str
    says: str
    action: Literal["create", "call"]
    contract: str
    function: str | None = None
    to: str | None = None
    arguments: list[str]
    behind: str | None = None
    initial: list[str] = Field(default_factory=list)
    gas: Count
    artifact_hash: Hash | None = None
    attempts: list[SignedAttempt] = Field(default_factory=list)
    address: Address | None = None
    mined: MinedTransaction | None = None


What = Literal["deploy", "upgrade", "rollback", "handover", "accept", "renounce", "register", "recommend"]


class Pending(Open):
    """Unfinished work: `sender` sends all of it, in this order. `subject` is the contract, service or network."""

    what: What
    sender: Address
    subject: str
    steps: Annotated[list[Step], Field(min_length=1)]

    @property
    def title(self) -> str:
        """What is unfinished, as the subject of a sentence."""
        match self.what:
            case "handover":
                return f"The transfer of ownership to {self.steps[0].arguments[0]}"
            case "accept":
                return f"The acceptance of ownership by {self.sender}"
            case "renounce":
                return f"The renunciation of {self.subject}"
            case "deploy":
                return f"The deployment of {self.subject}"
            case "register" | "recommend" as what:
                return f"The {'registration' if what == 'register' else 'recommendation'} of {self.subject}"
            case what:
                return f"The {what} of {self.subject}"

    @property
    def command(self) -> str:
        """The command that finishes it, without `serving` and --network."""
        arguments = self.steps[0].arguments
        match self.what:
            case "deploy":
                return "deploy apply"
            case "upgrade":
                return f"upgrade apply {self.subject}"
            case "rollback":
                return f"upgrade rollback {self.subject}"
            case "handover":
                verb = "offer" if self.steps[0].function == "offerOwnership" else "transfer"
                return f"ownership {verb} all {arguments[0]}"
            case "accept":
                return "ownership accept"
            case "renounce":
                return f"ownership renounce {self.subject}"
            case "register":
                return f"registry register {' '.join(arguments[:3])}"
            case "recommend":
                return f"registry recommend {self.subject}"


class Instruction(Open):
    """A call that another owner must make, on the contract called `subject`.

    `done_in` is the block in which it was first seen to be done.
    """

    id: str
    says: str
    sender: Address
    to: Address
    contract: str
    function: str
    arguments: list[str]
    data: Data
    subject: str
    done_in: Count | None = None


class Record(Open):
    """A deployed network. `genesis` is the hash of block 0, which identifies the chain beside its id."""

    format: Literal[1] = 1
    network: str
    chain_id: Annotated[int, Field(gt=0)]
    genesis: Hash
    deployer: Address
    contracts: dict[str, RecordedContract] = Field(default_factory=dict)
    instructions: list[Instruction] = Field(default_factory=list)
    pending: Pending | None = None

    @property
    def ledger(self) -> RecordedContract:
        """The ledger. Raises RecordProblem if none is deployed."""
        if "ledger" not in self.contracts:
            raise RecordProblem(
                f"{self.network} has no ledger yet.", next_step=f"serving deploy apply --network {self.network}"
            )
        return self.contracts["ledger"]

    @property
    def services(self) -> dict[str, RecordedContract]:
        return {name: one for name, one in self.contracts.items() if name != "ledger"}

    @property
    def open_instructions(self) -> list[Instruction]:
        """What other owners still have to do."""
        return [one for one in self.instructions if one.done_in is None]

    def instruct(self, instruction: Instruction) -> None:
        """Add an instruction; an open one for the same thing is replaced."""
        self.instructions = [one for one in self.instructions if one.id != instruction.id or one.done_in is not None]
        self.instructions.append(instruction)

    def contract(self, name: str) -> RecordedContract:
        """The contract of that name, "ledger" or a service's full name. Raises RecordProblem."""
        if name not in self.contracts:
            raise RecordProblem(
                f"{self.network} has no contract called {name}.",
                next_step=f"Choose one of: {', '.join(self.contracts) or 'none is deployed yet'}.",
            )
        return self.contracts[name]
