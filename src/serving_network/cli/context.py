"""What every verb shares: the options, the network, the key, and the way in which something is sent.

    @reads
    async def show(session: Session, user: ...) -> None: ...

    @writes
    async def deposit(session: Session, amount: ...) -> None: ...

The decorators add --network and --json, and for writes also --key, --yes, --dry-run and the fees.
"""

from __future__ import annotations

import asyncio
import functools
import getpass
import inspect
import signal
import sys
import threading
from collections.abc import Awaitable, Callable
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, get_type_hints

import typer

from serving_network.chain.connection import AsyncConnection
from serving_network.chain.receipts import Receipt
from serving_network.chain.sender import Fees
from serving_network.cli.complete import complete_key, complete_network
from serving_network.cli.home import Home
from serving_network.cli.output import Output, money
from serving_network.clients.actor import AsyncActor
from serving_network.clients.read.network import AsyncNetwork
from serving_network.errors import InvalidInput, KeyFailure, TransactionFailure, TransactionPending, UnknownName
from serving_network.money import describe, parse_wei
from serving_network.networks import NamedNetwork, home

if TYPE_CHECKING:
    from collections.abc import Iterator

    from eth_typing import ChecksumAddress

    from serving_network.chain.contract import Call
    from serving_network.signing import Signer

A = TypeVar("A", bound=AsyncActor)

NETWORK = Annotated[
    str | None,
    typer.Option(
        "--network", "-n", help="The network, by name.", envvar="SERVING_NETWORK", autocompletion=complete_network
    ),
]
KEY = Annotated[
    str | None,
    typer.Option(
        "--key",
        "-k",
        help='The key, by name; "ledger:0" on a device.',
        envvar="SERVING_KEY",
        autocompletion=complete_key,
    ),
]
KEY_FROM_INPUT = Annotated[bool, typer.Option("--key-stdin", help="Read a private key from standard input.")]
JSON = Annotated[bool, typer.Option("--json", help="Print JSON.")]
YES = Annotated[bool, typer.Option("--yes", "-y", help="Send without asking.")]
DRY_RUN = Annotated[bool, typer.Option("--dry-run", help="Show the call, what it changes and its gas. Send nothing.")]
YES_RECORD = Annotated[bool, typer.Option("--yes", "-y", help="Write without asking.")]
DRY_RUN_RECORD = Annotated[bool, typer.Option("--dry-run", help="Show what would be written. Write nothing.")]
FEE = Annotated[str | None, typer.Option("--max-fee", help="The most that a unit of gas may cost, such as '5 gwei'.")]
TIP = Annotated[str | None, typer.Option("--tip", help="The part of it for the block's maker.")]
LEGACY = Annotated[bool, typer.Option("--legacy", help="Send the older kind of transaction, with one gas price.")]


class Interrupted(TransactionFailure):
    """Ctrl-C. `transaction` is what was sent and not yet seen mined."""

    exit_code = 130


class Declined(InvalidInput):
    """The person said no, or there is nobody to ask."""


@dataclass
class Session:
    """One run of one verb. What a verb puts into `beside` joins the transactions in its JSON result."""

    configuration: Home
    network: NamedNetwork
    out: Output
    key: str | None = None
    key_from_input: bool = False
    yes: bool = False
    dry_run: bool = False
    max_fee: str | None = None
    tip: str | None = None
    legacy: bool = False
    sent: str | None = None
    done: list[dict[str, Any]] = field(default_factory=list)
    beside: dict[str, Any] = field(default_factory=dict)
    _chain: AsyncConnection | None = None
    _signer: Signer | None = None

    async def chain(self) -> AsyncConnection:
        """The connection to the network's chain. Raises NodeUnreachable and WrongChain."""
        if self._chain is None:
            self._chain = await AsyncConnection.open(self.network.urls, self.network.chain_id)
        return self._chain

    async def reader(self) -> AsyncNetwork:
        """The network for reading."""
        return AsyncNetwork(await self.chain(), self.network.require_ledger())

    async def act(self, role: type[A]) -> A:
        """The network for acting in a role; what the client sends goes through this session."""
        fees = await self._fees()
        actor = role(await self.chain(), self.signer(), self.network.require_ledger(), fees=fees)
        actor.submit = functools.partial(self._submit, actor, fees)
        return actor

    def address(self, text: str) -> ChecksumAddress:
        """An address, a name in the address book, or a key's name."""
        return self.configuration.address(text)

    def name(self, address: str) -> str:
        """The address with its name, if it has one."""
        known = self.configuration.name_of(address)
        return f"{known} {address}" if known else address

    def own_address(self) -> ChecksumAddress:
        """The address of the key in use. Needs no password."""
        if self._signer is None and not self.key_from_input:
            name = self.key or self.configuration.key_in_use
            if name and not name.startswith(DEVICE) and not (self.key is None and _environment_key()):
                return self.configuration.keys.find(name).address
        return self.signer().address

    def signer(self) -> Signer:
        """The key: from standard input, the environment, or the key store. Raises KeyFailure and UnknownName."""
        if self._signer is None:
            self._signer = self._find_signer()
        return self._signer

    def _find_signer(self) -> Signer:
        from serving_network.wallet.keys import key_from_environment, key_from_stream

        if self.key_from_input:
            return key_from_stream(sys.stdin)
        if self.key is None and (found := key_from_environment()) is not None:
            return found
        name = self.key or self.configuration.key_in_use
        if name is None:
            raise KeyFailure("No key is in use.", next_step="serving key new NAME")
        return self.unlock(name)

    def unlock(self, name: str) -> Signer:
        """A key of the key store, or "ledger:N" on a device. Raises UnknownName, WrongPassword and KeyLocked."""
        from serving_network.wallet.keys import no_password

        if name.startswith(DEVICE):
            from serving_network.wallet.hardware import connected_ledger

            number = name.removeprefix(DEVICE)
            if not number.isdecimal():
                raise UnknownName(
                    f"{name!r} is no key of a device.", next_step=f"Write {DEVICE}0, {DEVICE}1 and so on."
                )
            return connected_ledger(int(number))
        self.configuration.keys.find(name)
        password = ask_password(f"Password of the key {name!r}: ")
        if password is None:
            raise no_password(name)
        return self.configuration.keys.unlock(name, password)

    async def _fees(self) -> Fees | None:
        if self.max_fee is None:
            if self.tip is None and not self.legacy:
                return None
            suggested = await (await self.chain()).suggested_fees()
            if self.legacy:
                return Fees.gas_price(suggested.max_fee_per_gas)
            return Fees(suggested.max_fee_per_gas, parse_wei(self.tip or "0"))
        most = parse_wei(self.max_fee)
        if self.legacy:
            return Fees.gas_price(most)
        return Fees(most, min(most, parse_wei(self.tip)) if self.tip else most)

    async def _submit(self, actor: AsyncActor, fees: Fees | None, call: Call) -> Receipt:
        """Show, ask, send, wait, and remember what was sent."""
        chain = actor.chain
        gas = await chain.estimate_gas(actor.address, call.to, call.data, call.value)
        fees = fees or await chain.suggested_fees()
        most = gas * fees.max_fee_per_gas
        told = {
            "contract": call.contract,
            "to": call.to,
            "function": call.function,
            "arguments": {name: plain(value) for name, value in call.arguments.items()},
            "value": money(call.value),
            "effect": call.effect,
            "gas": gas,
            "highest_gas_cost": money(most),
        }
        if self.dry_run:
            self.done.append(told)
            self._show(call, gas, most)
            return _nothing_sent()
        if not self.yes:
            self.out.note(f"This {call.effect}.")
            self.out.note(f"Gas: up to {gas}, at most {describe(most)}.")
            ask_to_go_on()
        signed = await chain.prepare(actor.signer, call.to, call.data, value=call.value, gas=gas, fees=fees)
        self.sent = signed.hash
        await chain.broadcast(signed)
        receipt = await chain.wait(signed)
        self.sent = None
        self.done.append(
            told
            | {
                "transaction": receipt.transaction_hash,
                "block": receipt.block_number,
                "gas_used": receipt.gas_used,
                "gas_cost": money(receipt.cost),
            }
        )
        self.out.line(f"Done: {call.effect}.")
        self.out.line(f"Transaction {receipt.transaction_hash} in block {receipt.block_number}.")
        self.out.line(f"Gas used {receipt.gas_used}, {describe(receipt.cost)}.")
        return receipt

    def _show(self, call: Call, gas: int, most: int) -> None:
        self.out.line(f"{call.contract}.{call.function} at {call.to}", "bold")
        for name, value in call.arguments.items():
            self.out.line(f"  {name} = {plain(value)}")
        self.out.line(f"  coins sent with it: {describe(call.value)}")
        self.out.line(f"It {call.effect}.")
        self.out.line(f"It would succeed now. Gas: up to {gas}, at most {describe(most)}. Nothing was sent.")

    def finish(self) -> None:
        """Print what was done, for programs."""
        if self.done:
            self.out.result({"dry_run": self.dry_run, "transactions": self.done} | self.beside)

    async def close(self) -> None:
        """Give back the connection."""
        if self._chain is not None:
            await self._chain.close()


def reads(function: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """A verb that sends nothing: adds --network, --key (whose address to look at) and --json."""
    return _verb(function, {"network": NETWORK, "key": KEY, "as_json": JSON})


def writes(function: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """A verb that sends transactions."""
    options = {"network": NETWORK, "key": KEY, "key_from_input": KEY_FROM_INPUT, "as_json": JSON, "yes": YES}
    return _verb(function, options | {"dry_run": DRY_RUN, "max_fee": FEE, "tip": TIP, "legacy": LEGACY})


def settles(function: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """The verb that sends many transactions without asking for each, and finds their fees itself, up to --max-fee."""
    options = {"network": NETWORK, "key": KEY, "key_from_input": KEY_FROM_INPUT, "as_json": JSON}
    return _verb(function, options | {"dry_run": DRY_RUN, "max_fee": FEE})


def cancels(function: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """A verb that sends several transactions, asks once for all of them, and finds their fees up to --max-fee."""
    options = {"network": NETWORK, "key": KEY, "key_from_input": KEY_FROM_INPUT, "as_json": JSON, "yes": YES}
    return _verb(function, options | {"dry_run": DRY_RUN, "max_fee": FEE})


def records(function: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """A verb that sends nothing and changes the provider's journal."""
    options = {"network": NETWORK, "key": KEY, "as_json": JSON}
    return _verb(function, options | {"yes": YES_RECORD, "dry_run": DRY_RUN_RECORD})


def _verb(function: Callable[..., Awaitable[None]], options: dict[str, Any]) -> Callable[..., None]:
    hints = get_type_hints(function, include_extras=True)
    own = [one for name, one in inspect.signature(function).parameters.items() if name != "session"]

    @functools.wraps(function)
    def run(**given: Any) -> None:
        chosen = {name: given.pop(name) for name in options}
        configuration = Home(home())
        session = Session(
            configuration, configuration.network(chosen.pop("network")), Output(chosen.pop("as_json")), **chosen
        )
        with _CtrlC() as ctrl_c:
            try:
                asyncio.run(_run(session, function, given, ctrl_c))
            except BaseException as failure:
                if ctrl_c.pressed or isinstance(failure, KeyboardInterrupt):
                    raise _interrupted(session, failure) from failure
                raise
            if ctrl_c.pressed:
                raise _interrupted(session)

    added = [
        inspect.Parameter(
            name, inspect.Parameter.KEYWORD_ONLY, default=None if name in OPTIONAL else False, annotation=kind
        )
        for name, kind in options.items()
    ]
    parameters = [one.replace(kind=inspect.Parameter.KEYWORD_ONLY, annotation=hints[one.name]) for one in own]
    run.__signature__ = inspect.Signature([*parameters, *added])  # type: ignore[attr-defined]
    run.__annotations__ = {one.name: one.annotation for one in [*parameters, *added]}
    del run.__dict__["__wrapped__"]
    return run


DEVICE = "ledger:"
OPTIONAL = ("network", "key", "max_fee", "tip")
CANCEL_AGAIN = 0.5  # seconds until a verb that did not end is cancelled once more


async def _run(
    session: Session, function: Callable[..., Awaitable[None]], given: dict[str, Any], ctrl_c: _CtrlC
) -> None:
    async def work() -> None:
        await function(session, **given)
        session.finish()

    try:
        await ctrl_c.cancels(asyncio.create_task(work()))
    finally:
        await session.close()


class _CtrlC:
    """Handle Ctrl-C while a verb runs: cancel the verb repeatedly until it ends, then report an interruption.

    The event loop's own handler cancels only once. What is being awaited at that moment may swallow the cancellation or
    raise another error. After the verb's last step, that handler also breaks the loop's clean-up.
    """

    def __init__(self) -> None:
        self.pressed = False
        self._former: Any = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._work: asyncio.Task[None] | None = None

    def __enter__(self) -> _CtrlC:
        if threading.current_thread() is threading.main_thread():
            self._former = signal.signal(signal.SIGINT, self._press)
        return self

    def __exit__(self, *_: object) -> None:
        if self._former is not None:
            signal.signal(signal.SIGINT, self._former)

    async def cancels(self, work: asyncio.Task[None]) -> None:
        """Wait for `work`, and cancel it on Ctrl-C. Clean-up after `work` is not cancelled."""
        self._work, self._loop = work, asyncio.get_running_loop()
        if self.pressed:
            self._cancel()
        try:
            await asyncio.wait({work})
            work.result()
        finally:
            self._work = self._loop = None
            if work.done() and not work.cancelled():
                work.exception()  # retrieved here, because Ctrl-C at a prompt may have ended the loop around both tasks

    def _press(self, *_: object) -> None:
        if self.pressed:
            raise KeyboardInterrupt
        self.pressed = True
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._cancel)

    def _cancel(self) -> None:
        if self._work is not None and not self._work.done():
            self._work.cancel()
            self._work.get_loop().call_later(CANCEL_AGAIN, self._cancel)


def _interrupted(session: Session, failure: BaseException | None = None) -> Interrupted:
    sent = session.sent
    if sent is None and isinstance(failure, TransactionPending):
        sent = failure.transaction
    if sent is None:
        finished = f" {len(session.done)} transactions were finished before." if session.done else ""
        return Interrupted(f"Interrupted. Nothing is under way.{finished}")
    return Interrupted(
        f"Interrupted. This transaction was signed, and may have been sent: {sent}",
        transaction=sent,
        cause="What was sent can still take effect.",
        next_step=f"serving transaction show {sent}",
    )


def ask_to_go_on(question: str = "Go on?", what: str = "sent") -> None:
    """Ask on the terminal whether something may be done: `what` is "sent" or "written".

    Raises Declined on no, and where there is no terminal.
    """
    if not sys.stdin.isatty():
        raise Declined(
            f"This would be {what}, and there is nobody to ask.", next_step="Add --yes, or --dry-run to look."
        )
    with interruptible():
        try:
            agreed = typer.confirm(question, default=True, err=True)
        except typer.Abort:
            raise KeyboardInterrupt from None
    if not agreed:
        raise Declined(f"Nothing was {what}.")


def ask_password(prompt: str) -> str | None:
    """The password from the environment or the terminal; None where there is neither."""
    from serving_network.wallet.keys import password_from_environment

    known = password_from_environment()
    if known is not None:
        return known
    if not sys.stdin.isatty():
        return None
    with interruptible():
        return getpass.getpass(prompt)


@contextmanager
def interruptible() -> Iterator[None]:
    """Inside, Ctrl-C ends a question at once; the event loop's own handler would wait for an answer first."""
    former = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, former)


def _environment_key() -> bool:
    from serving_network.wallet.keys import key_from_environment

    return key_from_environment() is not None


def _nothing_sent() -> Receipt:
    return Receipt(
        "", succeeded=True, block_number=0, block_hash="", gas_used=0, gas_price=0, contract_address=None, logs=[]
    )


def plain(value: Any) -> Any:
    """An argument as JSON and people can read it: whole numbers as text where JavaScript would round them."""
    if isinstance(value, bytes):
        return "0x" + value.hex()
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int):
        return value if value < 2**53 else str(value)
    if isinstance(value, dict):
        return {name: plain(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(one) for one in value]
    return value
