# SPDX-License-Identifier: Apache-2.0
"""The sync version of an async class: the same coroutines, run to completion on an event loop of its own.

class User(SyncFace[AsyncUser]):
    deposit = blocking(AsyncUser.deposit)
"""

from __future__ import annotations

import asyncio
import functools
import inspect
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, TypeVar

from serving_network.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterator

Core = TypeVar("Core")
P = ParamSpec("P")
R = TypeVar("R")


class SyncFace(Generic[Core]):
    """Holds the async object (`core`) and the runner of its event loop.

    It cannot be used inside a running event loop. Use the async class there.
    """

    def __init__(self, core: Core, runner: asyncio.Runner) -> None:
        self.core = core
        self.runner = runner

    @property
    def is_closed(self) -> bool:
        """Whether the connection was closed, and its event loop with it."""
        try:
            self.runner.get_loop()
        except RuntimeError:
            return True
        return False

    def run(self, work: Callable[[], Coroutine[Any, Any, R]]) -> R:
        """Run the coroutine of `work` and return its result.

        Raises InvalidInput inside a running event loop, and after the connection was closed.
        """
        name = type(self).__name__
        refuse_in_event_loop(name, "was used", f"Async{name} and await its methods")
        if self.is_closed:
            raise InvalidInput(
                f"{name} was used after the connection was closed.", next_step="Open a new one: Connection.open(url)."
            )
        return self.runner.run(work())


def refuse_in_event_loop(name: str, done: str, instead: str) -> None:
    """Raise InvalidInput if this thread runs an event loop, which a sync class would block."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise InvalidInput(f"{name} {done} inside a running event loop.", next_step=f"Use {instead}.")


def blocking(
    method: Callable[Concatenate[Core, P], Coroutine[Any, Any, R]],
) -> Callable[Concatenate[SyncFace[Any], P], R]:
    """A sync method that runs one coroutine method of the core. It has that method's signature and documentation."""

    @functools.wraps(method)
    def call(face: SyncFace[Any], /, *args: P.args, **kwargs: P.kwargs) -> R:
        return face.run(lambda: method(face.core, *args, **kwargs))

    call.__qualname__ = method.__qualname__.removeprefix("Async")
    return call


def blocking_iterator(
    method: Callable[Concatenate[Core, P], AsyncIterator[R]],
) -> Callable[Concatenate[SyncFace[Any], P], Iterator[R]]:
    """A sync method that yields what an async iterator of the core yields."""

    @functools.wraps(method)
    def iterate(face: SyncFace[Any], /, *args: P.args, **kwargs: P.kwargs) -> Iterator[R]:
        source = method(face.core, *args, **kwargs)

        async def next_item() -> R:
            return await anext(source)

        while True:
            try:
                yield face.run(next_item)
            except StopAsyncIteration:
                return

    signature = inspect.signature(method)
    returns = str(signature.return_annotation).removeprefix("Async")
    iterate.__signature__ = signature.replace(return_annotation=returns)  # type: ignore[attr-defined]
    iterate.__qualname__ = method.__qualname__.removeprefix("Async")
    return iterate
