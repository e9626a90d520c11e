# SPDX-License-Identifier: Apache-2.0
"""The sync version of an async class: the same coroutines, run to completion on an event loop of its own.

class User(SyncFace[AsyncUser]):
    deposit = blocking(AsyncUser.deposit)
"""

from __future__ import annotations

import asyncio
import functools
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, Self, TypeVar, overload

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

    def run(self, work: Callable[[], Coroutine[Any, Any, R]]) -> R:
        """Run the coroutine of `work` and return its result. Raises InvalidInput inside a running event loop."""
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return self.runner.run(work())
        raise InvalidInput(
            f"{type(self).__name__} was used inside a running event loop.",
            next_step=f"Use Async{type(self).__name__} and await its methods.",
        )


class blocking(Generic[Core, P, R]):  # noqa: N801 - used like a decorator
    """A sync method that runs one coroutine method of the core."""

    def __init__(self, method: Callable[Concatenate[Core, P], Coroutine[Any, Any, R]]) -> None:
        self._method = method
        self.__doc__ = method.__doc__

    @overload
    def __get__(self, face: None, owner: type[SyncFace[Any]]) -> Self: ...
    @overload
    def __get__(self, face: SyncFace[Any], owner: type[SyncFace[Any]]) -> Callable[P, R]: ...
    def __get__(self, face: SyncFace[Any] | None, owner: type[SyncFace[Any]]) -> Self | Callable[P, R]:
        if face is None:
            return self

        @functools.wraps(self._method)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            return face.run(lambda: self._method(face.core, *args, **kwargs))

        return call


class blocking_iterator(Generic[Core, P, R]):  # noqa: N801
    """A sync method that yields what an async iterator of the core yields."""

    def __init__(self, method: Callable[Concatenate[Core, P], AsyncIterator[R]]) -> None:
        self._method = method
        self.__doc__ = method.__doc__

    @overload
    def __get__(self, face: None, owner: type[SyncFace[Any]]) -> Self: ...
    @overload
    def __get__(self, face: SyncFace[Any], owner: type[SyncFace[Any]]) -> Callable[P, Iterator[R]]: ...
    def __get__(self, face: SyncFace[Any] | None, owner: type[SyncFace[Any]]) -> Self | Callable[P, Iterator[R]]:
        if face is None:
            return self

        @functools.wraps(self._method)
        def iterate(*args: P.args, **kwargs: P.kwargs) -> Iterator[R]:
            source = self._method(face.core, *args, **kwargs)

            async def next_item() -> R:
                return await anext(source)

            while True:
                try:
                    yield face.run(next_item)
                except StopAsyncIteration:
                    return

        return iterate
