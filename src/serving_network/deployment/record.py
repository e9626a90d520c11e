# SPDX-License-Identifier: Apache-2.0
"""What a network is: the file that the tool writes, `networks/NAME.json`.

It is committed, so it is written to be read: every contract with its addresses, arguments, compiler, hashes, storage
layout, owners and what it replaced. `pending` is the journal of work under way: it is on disk before anything is
sent, so that a killed run leaves behind what the next one needs to go on.

Integers of contract arguments are kept as text, since they are wei and do not fit a JSON number.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import ConfigDict, Field, ValidationError, model_validator

from serving_network.deployment.errors import RecordProblem
from serving_network.deployment.spec import Address, Model
from serving_network.files import RunInProgress, lock, write_whole
from serving_network.messages.transactions import SignedTransaction
from serving_network.untrusted import parse_json, printable


class Open(Model):
    """A part of the record that changes while work goes on."""

    model_config = ConfigDict(extra="forbid", frozen=False, strict=True, validate_assignment=True)


Hash = Annotated[str, Field(pattern=r"^0x[0-9a-f]{64}$")]
Data = Annotated[str, Field(pattern=r"^0x(?:[0-9a-f]{2})*$")]
Count = Annotated[int, Field(ge=0, lt=2**64)]

DESCRIBED_BY_RELEASE_0_1: Final = frozenset(
    ("hash", "nonce", "gas", "max_fee_per_gas", "max_priority_fee_per_gas", "legacy")
)


class Mined(Model):
    """Where a transaction stands on the chain, and whose it is."""

    transaction: Hash
    sender: Address
    nonce: Count
    block: Count
    block_hash: Hash
    gas_used: Count


class Code(Model):
    """One piece of deployed code. `artifact_hash` is keccak of the creation code without arguments, `code_hash`
    keccak of what lies at the address."""

    contract: str
    address: Address
    arguments: dict[str, str]
    mined: Mined
    artifact_hash: Hash
    code_hash: Hash


class Implementation(Code):
    """The code behind a front. `release` is the version of this package that it came from; `replaced` the address
    of the implementation before it."""

    release: str
    compiler: dict[str, Any]
    storage_layout: dict[str, Any]
    replaced: Address | None = None


class Registration(Open):
    """How the ledger knows a service. Until `registered` it waits for the ledger's owner; `transaction` is None where
    somebody else than this tool registered it."""

    type: str
    version: str
    description: str
    registered: bool = False
    recommended: bool = False
    transaction: Hash | None = None


class Contract(Open):
    """One front with everything behind it. `initial` holds the arguments of `initialize` by name; `clients` and
    `providers` are the releases of client and provider software that go with it; `former` is oldest first; `prepared`
    is deployed and waits for the upgrade owner."""

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
    """A signed transaction that was, or was about to be, broadcast. Only one nonce is alive for a step at a time.

    What it contains is decoded from `raw`. Records of release 0.1 also describe some of it and do not name the sender.
    Their description is compared with what is decoded, and left out when the record is written again.
    """

    sender: Address
    raw: Data

    @property
    def signed(self) -> SignedTransaction:
        return SignedTransaction.decode(bytes.fromhex(self.raw.removeprefix("0x")), self.sender)

    @model_validator(mode="before")
    @classmethod
    def _decode(cls, stored: Any) -> Any:
        if not isinstance(stored, dict) or not isinstance(stored.get("raw"), str):
            return stored
        signed = SignedTransaction.decode(bytes.fromhex(stored["raw"].removeprefix("0x")), stored.get("sender"))
        described = {name: value for name, value in stored.items() if name in DESCRIBED_BY_RELEASE_0_1}
        if wrong := signed.differences(described):
            raise ValueError(f"the signed transaction has another {' and another '.join(wrong)}")
        return {"sender": signed.sender, "raw": stored["raw"]} | {
            name: value for name, value in stored.items() if name not in described
        }


class Step(Open):
    """One transaction of a plan.

    `contract` names the artifact that is created or called, `to` what is called. A value that begins with "@" stands
    for an address: "@ledger/front" is the front of the ledger, of this plan or of the record. `initial` are the
    arguments of `initialize` that a front passes on while it is created, and `behind` the artifact they are for.
    `gas` is a limit that it does not reach. `artifact_hash` is that of the code to be created, so that a plan is not
    finished with other code than it was begun with.
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
    mined: Mined | None = None


class Pending(Open):
    """Work under way: `sender` sends all of it, in this order. `subject` is the contract or service concerned."""

    what: Literal["deploy", "upgrade", "rollback", "handover", "accept", "recommend"]
    sender: Address
    subject: str
    steps: Annotated[list[Step], Field(min_length=1)]


class Instruction(Open):
    """A call that somebody else must make, on the contract called `subject`. `done_in` is the block at which it was
    first seen to be done."""

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
    """A network as it stands. `genesis` is the hash of block 0, which a node of another chain cannot show."""

    format: Literal[1] = 1
    network: str
    chain_id: Annotated[int, Field(gt=0)]
    genesis: Hash
    deployer: Address
    contracts: dict[str, Contract] = Field(default_factory=dict)
    instructions: list[Instruction] = Field(default_factory=list)
    pending: Pending | None = None

    @property
    def ledger(self) -> Contract:
        """The ledger. Raises RecordProblem when none is deployed."""
        if "ledger" not in self.contracts:
            raise RecordProblem(
                f"{self.network} has no ledger yet.", next_step=f"serving deploy apply --network {self.network}"
            )
        return self.contracts["ledger"]

    @property
    def services(self) -> dict[str, Contract]:
        return {name: one for name, one in self.contracts.items() if name != "ledger"}

    @property
    def open_instructions(self) -> list[Instruction]:
        """What other owners have yet to do."""
        return [one for one in self.instructions if one.done_in is None]

    def instruct(self, instruction: Instruction) -> None:
        """Add an instruction; an open one for the same thing is replaced."""
        self.instructions = [one for one in self.instructions if one.id != instruction.id or one.done_in is not None]
        self.instructions.append(instruction)

    def contract(self, name: str) -> Contract:
        """The contract of that name, "ledger" or a service's full name. Raises RecordProblem."""
        if name not in self.contracts:
            raise RecordProblem(
                f"{self.network} has no contract called {name}.",
                next_step=f"Choose one of: {', '.join(self.contracts) or 'none is deployed yet'}.",
            )
        return self.contracts[name]


def load_record(path: Path) -> Record:
    """Read a record. Raises RecordProblem naming what is missing or wrong."""
    from serving_network.deployment.sense import check_sense  # which reads records itself

    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise RecordProblem(
            f"There is no record {path}.", next_step=f"serving deploy apply --network {path.stem}"
        ) from error
    except OSError as error:
        raise RecordProblem(
            f"The record {path} cannot be read.", cause=str(error), next_step=f"Look at what {path} is."
        ) from error
    try:
        parse_json(content)  # which refuses a key that comes twice, as a merge of two records may leave it
        record = Record.model_validate_json(content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise _damaged(path, ".".join(str(part) for part in first["loc"]) or "file", first["msg"]) from error
    except ValueError as error:
        raise _damaged(path, "file", str(error)) from error
    if (problem := check_sense(record)) is not None:
        raise _damaged(path, *problem)
    return record


def _damaged(path: Path, where: str, what: str) -> RecordProblem:
    return RecordProblem(
        f"{path} is damaged at {printable(where)}: {printable(what)}.",
        next_step=f"Restore {path} from version control.",
    )


class RecordFile:
    """A record on disk, or only in memory where `path` is None. Saving replaces the file in one step."""

    def __init__(self, path: Path | None, record: Record) -> None:
        self.path = path
        self.record = record

    @classmethod
    def open(cls, path: Path) -> "RecordFile":
        return cls(path, load_record(path))

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other runs away while work goes on. The lock ends with the process, however that ends. Raises
        RecordProblem when another run has it."""
        if self.path is None:
            yield
            return
        with ExitStack() as held:
            try:
                held.enter_context(lock(self.path.with_name(f".{self.path.stem}.lock")))
            except RunInProgress as error:
                raise RecordProblem(
                    f"Another run is at work on {self.path}.", cause=error.cause, next_step=error.next_step
                ) from error
            yield

    def save(self) -> None:
        """Write the record so that a crash leaves the old file or the new one, never half of one."""
        if self.path is None:
            return
        text = self.record.model_dump_json(indent=2, ensure_ascii=True) + "\n"
        write_whole(self.path, text, mode=0o644)
