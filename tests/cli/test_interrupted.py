# SPDX-License-Identifier: Apache-2.0
"""Ctrl-C at every moment of a send has one outcome."""

from __future__ import annotations

import asyncio
import selectors
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from serving_network.chain.sender import AsyncSender
from serving_network.chain.transport import HttpTransport, TransientFailure
from serving_network.messages.transactions import SignedTransaction
from serving_network.money import WEI_PER_COIN as COIN
from serving_network.wallet.local import LocalSigner
from tests.cli.conftest import Result, Terminal
from tests.clients.network_fixture import World

SEND = ("ledger", "deposit", "1", "--yes")
MOST_MOMENTS = 1000


class Interruption:
    """Presses Ctrl-C at the moment of this number, and remembers what the send had signed by then."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.moments = 0
        self.signed: str | None = None

    @property
    def pressed(self) -> bool:
        return self.moments >= self.number

    def moment(self) -> None:
        self.moments += 1
        if self.moments == self.number:
            signal.raise_signal(signal.SIGINT)


@contextmanager
def noted(interruption: Interruption) -> Iterator[pytest.MonkeyPatch]:
    broadcast = AsyncSender.broadcast

    async def noting(self: AsyncSender, signed: SignedTransaction) -> str:
        interruption.signed = signed.hash
        return await broadcast(self, signed)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(AsyncSender, "broadcast", noting)
        yield patch


def interrupted(ended: Result, interruption: Interruption) -> None:
    """The one outcome."""
    assert ended.code == 130, (interruption.moments, ended)
    said = " ".join(ended.err.split())
    if interruption.signed is None:
        assert "Interrupted. No transaction is pending." in said, (interruption.moments, ended)
    elif f"Completed before: 1 transaction. Why Mined before: {interruption.signed}." not in said:
        assert f"This transaction was signed and may have been sent: {interruption.signed}" in said, ended
        assert f"serving transaction show {interruption.signed}" in said, ended


@contextmanager
def before_and_after_every_question(interruption: Interruption) -> Iterator[None]:
    """Moments: before a question is asked, while the node holds its answer back, and when the answer is there."""
    ask = HttpTransport.ask

    async def asking(self: HttpTransport, calls: list[tuple[str, list[Any]]]) -> list[Any]:
        interruption.moment()
        answer = asyncio.create_task(ask(self, calls))
        await asyncio.wait({answer})
        interruption.moment()  # the node has taken the question, and has not answered
        await asyncio.sleep(0)
        interruption.moment()
        return answer.result()

    with noted(interruption) as patch:
        patch.setattr(HttpTransport, "ask", asking)
        yield


@contextmanager
def around_the_signature(interruption: Interruption) -> Iterator[None]:
    """Moments: before, while and after the key signs, and when the transaction is about to be broadcast."""
    sign, in_thread, broadcast = LocalSigner.sign_transaction, asyncio.to_thread, AsyncSender.broadcast

    def signing(self: LocalSigner, fields: dict[str, Any]) -> bytes:
        pressed.set()
        return sign(self, fields)

    async def to_thread(work: Callable[..., Any], *given: Any) -> Any:
        interruption.moment()
        result = asyncio.create_task(in_thread(work, *given))
        while not pressed.is_set():
            await asyncio.sleep(0)
        interruption.moment()
        signed = await result
        interruption.moment()
        return signed

    async def broadcasting(self: AsyncSender, signed: SignedTransaction) -> str:
        interruption.signed = signed.hash
        interruption.moment()
        return await broadcast(self, signed)

    pressed = threading.Event()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LocalSigner, "sign_transaction", signing)
        patch.setattr(asyncio, "to_thread", to_thread)
        patch.setattr(AsyncSender, "broadcast", broadcasting)
        yield


@contextmanager
def at_every_turn_of_the_event_loop(interruption: Interruption) -> Iterator[None]:
    """Moments: each time that the program waits for anything, its clean-up included."""
    select = selectors.DefaultSelector.select

    def selecting(self: selectors.DefaultSelector, timeout: float | None = None) -> Any:
        if threading.current_thread() is threading.main_thread():
            interruption.moment()
        return select(self, timeout)

    with noted(interruption) as patch:
        patch.setattr(selectors.DefaultSelector, "select", selecting)
        yield


@pytest.mark.parametrize(
    ("watched", "fewest"),
    [(before_and_after_every_question, 20), (around_the_signature, 4), (at_every_turn_of_the_event_loop, 30)],
)
def test_at_every_moment_of_a_send(serving: Terminal, world: World, watched: Any, fewest: int) -> None:
    world.user.open_ledger(3 * COIN)
    for number in range(1, MOST_MOMENTS):
        interruption = Interruption(number)
        with watched(interruption):
            ended = serving(*SEND, code=None)
        if not interruption.pressed:
            assert ended.code == 0
            assert number > fewest
            return
        interrupted(ended, interruption)
    pytest.fail("A send has more moments than were tried.")


@pytest.mark.parametrize("method", ["eth_estimateGas", "eth_sendRawTransaction", "eth_getTransactionReceipt"])
def test_where_the_connection_fails_instead_of_being_cancelled(serving: Terminal, world: World, method: str) -> None:
    """What is awaited may answer the cancellation with a failure of its own; the verb must not go on then."""
    world.user.open_ledger(3 * COIN)
    interruption = Interruption(1)
    ask = HttpTransport.ask

    async def asking(self: HttpTransport, calls: list[tuple[str, list[Any]]]) -> list[Any]:
        if calls[0][0] != method:
            return await ask(self, calls)
        interruption.moment()
        try:
            await asyncio.sleep(0)
            return await ask(self, calls)
        except asyncio.CancelledError:
            raise TransientFailure("Server disconnected") from None

    world.chain.request("evm_setAutomine", [False])
    try:
        with noted(interruption) as patch:
            patch.setattr(HttpTransport, "ask", asking)
            ended = serving(*SEND, code=None)
    finally:
        world.chain.request("evm_setAutomine", [True])
    interrupted(ended, interruption)


def test_where_the_node_goes_down_at_the_same_moment(serving: Terminal, world: World) -> None:
    """Ctrl-C in a terminal reaches the program and a node that was started from it."""
    world.user.open_ledger(3 * COIN)
    interruption = Interruption(1)
    ask = HttpTransport.ask

    async def asking(self: HttpTransport, calls: list[tuple[str, list[Any]]]) -> list[Any]:
        if interruption.pressed:
            raise TransientFailure("Cannot connect")
        if calls[0][0] == "eth_sendRawTransaction":
            await ask(self, calls)
            interruption.moment()
            raise TransientFailure("Server disconnected")
        return await ask(self, calls)

    with noted(interruption) as patch:
        patch.setattr(HttpTransport, "ask", asking)
        ended = serving(*SEND, code=None)
    interrupted(ended, interruption)
    assert str(interruption.signed) in ended.err
