# SPDX-License-Identifier: Apache-2.0
"""What makes a function a command of the program: its shared options, its session, and Ctrl-C.

@reads
async def show(session: Session, user: ...) -> None: ...

@writes
async def deposit(session: Session, amount: ...) -> None: ...
"""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Awaitable, Callable
from dataclasses import fields
from typing import Any, get_type_hints

from serving_network.cli.console import options
from serving_network.cli.console.home import Home
from serving_network.cli.console.interrupt import CtrlC, Interrupted
from serving_network.cli.console.options import Sending
from serving_network.cli.console.other_service import name_other_service
from serving_network.cli.console.output import Output
from serving_network.cli.console.session import Session
from serving_network.errors import ContractError, TransactionPending

Command = Callable[..., Awaitable[None]]

READING = {"network": options.NETWORK, "key": options.KEY, "as_json": options.JSON}
SIGNING = READING | {"key_from_input": options.KEY_FROM_INPUT}
SENDING = frozenset(one.name for one in fields(Sending))
OPTIONAL = ("network", "key", "max_fee", "tip")


def reads(function: Command) -> Callable[..., None]:
    """A command that sends nothing. --key says whose address it looks at."""
    return _Command(function, READING | {"wide": options.WIDE})


def serves(function: Command) -> Callable[..., None]:
    """A command that serves requests until it is stopped. It sends nothing."""
    return _Command(function, READING | {"wide": options.WIDE}, _fast_loop)


def writes(function: Command) -> Callable[..., None]:
    """A command that sends transactions and asks before each."""
    sending = {"yes": options.YES, "dry_run": options.DRY_RUN, "max_fee": options.MAX_FEE}
    return _Command(function, SIGNING | sending | {"tip": options.TIP, "legacy": options.LEGACY})


def settles(function: Command) -> Callable[..., None]:
    """A command that sends many transactions without asking, and sets their fees itself, up to --max-fee."""
    return _Command(function, SIGNING | {"dry_run": options.DRY_RUN, "max_fee": options.MAX_FEE})


def cancels(function: Command) -> Callable[..., None]:
    """A command that sends many transactions, asks once for all, and sets their fees itself, up to --max-fee."""
    return _Command(function, SIGNING | {"yes": options.YES, "dry_run": options.DRY_RUN, "max_fee": options.MAX_FEE})


def records(function: Command) -> Callable[..., None]:
    """A command that sends nothing and changes the provider's journal."""
    return _Command(function, READING | {"yes": options.YES, "dry_run": options.DRY_RUN_RECORD})


class _Command:
    """A command from its function. Its signature, from which typer makes options, is read when it is used."""

    def __init__(
        self, function: Command, shared: dict[str, Any], new_loop: Callable[[], asyncio.AbstractEventLoop] | None = None
    ) -> None:
        self._function = function
        self._shared = shared
        self._new_loop = new_loop
        self.__name__ = function.__name__
        self.__doc__ = function.__doc__
        self.__module__ = function.__module__

    @functools.cached_property
    def __signature__(self) -> inspect.Signature:
        hints = get_type_hints(self._function, include_extras=True)
        own = [one for name, one in inspect.signature(self._function).parameters.items() if name != "session"]
        parameters = [one.replace(kind=inspect.Parameter.KEYWORD_ONLY, annotation=hints[one.name]) for one in own]
        added = [
            inspect.Parameter(
                name, inspect.Parameter.KEYWORD_ONLY, default=None if name in OPTIONAL else False, annotation=kind
            )
            for name, kind in self._shared.items()
        ]
        return inspect.Signature([*parameters, *added])

    @functools.cached_property
    def __annotations__(self) -> dict[str, Any]:  # type: ignore[override]
        return {name: one.annotation for name, one in self.__signature__.parameters.items()}

    def __call__(self, **given: Any) -> None:
        chosen = {name: given.pop(name) for name in self._shared}
        sending = Sending(**{name: chosen.pop(name) for name in SENDING & chosen.keys()})
        configuration = Home.open()
        network = configuration.network(chosen.pop("network"))
        session = Session(
            configuration,
            network,
            Output(chosen.pop("as_json"), wide=chosen.pop("wide", False)),
            sending=sending,
            **chosen,
        )
        with CtrlC() as ctrl_c:
            try:
                with asyncio.Runner(loop_factory=self._new_loop) as runner:
                    runner.run(_run(session, self._function, given, ctrl_c))
            except BaseException as failure:
                if ctrl_c.pressed or isinstance(failure, KeyboardInterrupt):
                    raise _interrupted(session, failure) from failure
                raise
            if ctrl_c.pressed:
                raise _interrupted(session)


def _fast_loop() -> asyncio.AbstractEventLoop:
    """uvloop's event loop, which takes less processor time for each event of a stream than asyncio's own."""
    import uvloop  # other commands do not need it

    return uvloop.new_event_loop()


async def _run(session: Session, function: Command, given: dict[str, Any], ctrl_c: CtrlC) -> None:
    async def work() -> None:
        await function(session, **given)
        session.finish()

    try:
        await ctrl_c.cancels(asyncio.create_task(work()))
    except ContractError as error:
        await name_other_service(session, error)
        raise
    finally:
        await session.close()


def _interrupted(session: Session, failure: BaseException | None = None) -> Interrupted:
    sent = session.sent
    if sent is None and isinstance(failure, TransactionPending):
        sent = failure.transaction
    return Interrupted(sent, [one["transaction"] for one in session.done if "transaction" in one])
