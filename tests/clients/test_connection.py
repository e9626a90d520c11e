# SPDX-License-Identifier: Apache-2.0
"""Requests to nodes that are slow, busy, broken or dishonest, over real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from eth_utils import keccak

from serving_network.chain import node as node_module
from serving_network.chain.connection import AsyncConnection, Connection
from serving_network.contracts.errors import LedgerNotExists
from serving_network.errors import ConfigurationError, InvalidInput, NodeFailure, NodeUnreachable, RpcError, WrongChain
from serving_network.localchain import EmbeddedChain
from serving_network.localchain.server import ChainServer
from serving_network.untrusted import without_secrets
from tests.clients.network_fixture import World

T = TypeVar("T")
Answer = Callable[[Any], Awaitable[web.Response]]


@pytest.fixture(autouse=True)
def no_long_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node_module, "FIRST_PAUSE", 0.001)


def run(work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(work)


@asynccontextmanager
async def served(*answers: Any) -> AsyncIterator[tuple[str, list[Any]]]:
    """A node of chain 31337 that gives these answers, one after the other and the last one for ever: a result, or a
    response."""
    asked: list[Any] = []
    left = list(answers)

    async def handle(request: web.Request) -> web.Response:
        body = await request.json()
        asked.append(body)
        if isinstance(body, dict) and body["method"] == "eth_chainId":
            return web.json_response({"jsonrpc": "2.0", "id": body["id"], "result": "0x7a69"})
        answer = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(answer, web.Response):
            return web.Response(status=answer.status, body=answer.body, headers=answer.headers)
        return web.json_response(answer(body))

    app = web.Application()
    app.router.add_post("/", handle)
    server = TestServer(app)
    await server.start_server()
    try:
        yield str(server.make_url("/")), asked
    finally:
        await server.close()


def result(value: Any) -> Callable[[Any], Any]:
    def answer(body: Any) -> Any:
        if isinstance(body, list):
            return [{"jsonrpc": "2.0", "id": one["id"], "result": value} for one in body]
        return {"jsonrpc": "2.0", "id": body["id"], "result": value}

    return answer


def refusal(code: int, message: str, data: Any = None) -> Callable[[Any], Any]:
    def answer(body: Any) -> Any:
        error = {"code": code, "message": message, "data": data}
        return {"jsonrpc": "2.0", "id": body["id"], "error": error}

    return answer


@pytest.mark.parametrize(
    "trouble",
    [
        web.Response(status=429),
        web.Response(status=500),
        web.Response(status=503),
        web.Response(text='{"jsonrpc": "2.0", "id": 0, "resu'),
        web.Response(text="<html>busy</html>"),
        refusal(-32005, "rate limit"),
        lambda _body: {"jsonrpc": "2.0", "id": 0},
    ],
)
def test_temporary_failures_are_retried(trouble: Any) -> None:
    async def ask() -> None:
        async with (
            served(trouble, trouble, result("0x10")) as (url, _),
            await AsyncConnection.open(url) as chain,
        ):
            assert await chain.block_number() == 16

    run(ask())


def test_permanent_failures_are_reported() -> None:
    async def ask() -> None:
        async with (
            served(web.Response(status=500)) as (url, asked),
            await AsyncConnection.open(url, attempts=3) as chain,
        ):
            with pytest.raises(NodeUnreachable) as failure:
                await chain.block_number()
        assert "HTTP 500" in str(failure.value.cause)
        assert sum(one["method"] == "eth_blockNumber" for one in asked) == 3

    run(ask())


def test_state_changing_requests_are_not_retried() -> None:
    async def ask() -> None:
        async with (
            served(web.Response(status=500)) as (url, asked),
            await AsyncConnection.open(url) as chain,
        ):
            with pytest.raises(NodeUnreachable):
                await chain.rpc("evm_mine")
        assert sum(one["method"] == "evm_mine" for one in asked) == 1

    run(ask())


def test_an_unreachable_node() -> None:
    with pytest.raises(NodeUnreachable) as failure:
        Connection.open("http://127.0.0.1:9", attempts=2)
    assert failure.value.next_step


@pytest.mark.parametrize("url", ["ftp://x", "127.0.0.1:8545", ""])
def test_an_invalid_url_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError):
        Connection.open(url)


def test_a_rejected_api_key_is_not_retried() -> None:
    async def ask() -> None:
        async with (
            served(web.Response(status=401)) as (url, _),
            await AsyncConnection.open(url) as chain,
        ):
            with pytest.raises(ConfigurationError, match="refused access"):
                await chain.block_number()

    run(ask())


def test_the_wrong_chain_is_refused() -> None:
    with pytest.raises(WrongChain) as failure:
        Connection.open(EmbeddedChain(), expected_chain_id=16661)
    assert (failure.value.expected, failure.value.actual) == (16661, 31337)


def test_another_node_takes_over_and_its_chain_is_checked_too() -> None:
    async def ask() -> None:
        async with served(web.Response(status=500)) as (first, _):
            async with served(result("0x11")) as (second, _), await AsyncConnection.open([first, second]) as chain:
                assert await chain.block_number() == 17
            refusing = served(web.Response(status=500))
            async with refusing as (again, _), served_as(1) as liar, await AsyncConnection.open([again, liar]) as chain:
                with pytest.raises(WrongChain):
                    await chain.block_number()

    run(ask())


@asynccontextmanager
async def served_as(chain_id: int) -> AsyncIterator[str]:
    """A node of another chain."""
    server = ChainServer(EmbeddedChain(chain_id=chain_id), "127.0.0.1", 0)
    await server.start()
    try:
        yield server.url
    finally:
        await server.stop()


@pytest.mark.parametrize(
    ("code", "message", "data"),
    [
        (3, "execution reverted", "DATA"),
        (-32000, "VM Exception while processing transaction", {"data": "DATA", "message": "reverted"}),
        (-32015, "VM execution error", "Reverted DATA"),
    ],
)
def test_revert_data_is_found_where_nodes_put_it(code: int, message: str, data: Any) -> None:
    whose = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"
    raw = "0x74a8e8e0"

    async def ask() -> None:
        text = "0x" + (keccak(text="LedgerNotExists(address)")[:4] + bytes(12) + bytes.fromhex(whose[2:])).hex()
        attached = {**data, "data": text} if isinstance(data, dict) else data.replace("DATA", text)
        async with (
            served(refusal(code, message, attached)) as (url, _),
            await AsyncConnection.open(url) as chain,
        ):
            with pytest.raises(LedgerNotExists) as failure:
                await chain.call(whose, bytes.fromhex(raw[2:]))
        assert failure.value.user == whose

    run(ask())


def test_invalid_answers_are_refused() -> None:
    async def ask() -> None:
        async with served(result("many")) as (url, _), await AsyncConnection.open(url) as chain:
            with pytest.raises(NodeFailure):
                await chain.block_number()
            with pytest.raises(NodeFailure):
                await chain.code("0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266")
            with pytest.raises(NodeFailure):
                await chain.block()

    run(ask())


def test_batches_are_sorted_and_split_if_unsupported() -> None:
    async def ask() -> None:
        def reversed_answers(body: Any) -> Any:
            return [{"jsonrpc": "2.0", "id": one["id"], "result": hex(one["id"])} for one in reversed(body)]

        calls = [("eth_getBalance", [str(number)]) for number in range(5)]
        async with served(reversed_answers) as (url, _), await AsyncConnection.open(url) as chain:
            assert await chain.batch(calls) == ["0x0", "0x1", "0x2", "0x3", "0x4"]

        def one_by_one(body: Any) -> Any:
            return refusal(-32600, "no batches")({"id": 0}) if isinstance(body, list) else result("0x5")(body)

        async with served(one_by_one) as (url, _), await AsyncConnection.open(url) as chain:
            assert await chain.batch(calls) == ["0x5"] * 5

    run(ask())


@pytest.mark.parametrize("as_list", [False, True], ids=["an error", "a list with an error"])
def test_a_batch_that_is_too_large_is_split(as_list: bool) -> None:
    sizes = []

    def limited(body: Any) -> Any:
        if not isinstance(body, list):
            return result("0x0")(body)
        sizes.append(len(body))
        if len(body) <= 30:
            return [result(call["params"][0])(call) for call in body]
        refused = refusal(-32600, "batch too large")(body[0])
        return [refused] if as_list else refused

    async def ask() -> None:
        calls = [("eth_getBalance", [hex(number)]) for number in range(100)]
        async with served(limited) as (url, _), await AsyncConnection.open(url) as chain:
            assert await chain.batch(calls) == [hex(number) for number in range(100)]
            assert sizes == [100, 50, 25, 25, 25, 25]
            await chain.batch(calls[:50])
            assert sizes[6:] == [25, 25]

    run(ask())


def test_a_websocket_serves_concurrent_requests_and_reconnects(world: World) -> None:
    async def ask() -> None:
        server = ChainServer(world.chain, "127.0.0.1", 0)
        await server.start()
        url = server.url.replace("http", "ws")
        async with await AsyncConnection.open(url) as chain:
            numbers = await asyncio.gather(*(chain.block_number() for _ in range(20)))
            assert len(set(numbers)) == 1
            with pytest.raises(RpcError):
                await chain.rpc("eth_unheard_of")
            port = int(server.url.rpartition(":")[2])
            await server.stop()
            again = ChainServer(world.chain, "127.0.0.1", port)
            await again.start()
            assert await chain.block_number() == numbers[0]
            await again.stop()

    run(ask())


def test_secrets_in_urls_are_hidden() -> None:
    assert without_secrets("https://me:secret@node.example/v1/key?token=1") == "https://node.example"


def test_a_sync_client_refuses_to_run_inside_an_event_loop(world: World) -> None:
    async def inside() -> None:
        with pytest.raises(InvalidInput, match="running event loop"):
            world.user.balances(world.user.address)

    run(inside())
