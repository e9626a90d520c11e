# SPDX-License-Identifier: Apache-2.0
"""JSON-RPC over HTTP and WebSocket, message by message, without a client library."""

from __future__ import annotations

import asyncio
import concurrent.futures
import http.client
import json
import threading
import time
from collections.abc import Iterator, Sequence
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest

from serving_network.localchain import EmbeddedChain
from serving_network.localchain import server as server_module
from serving_network.localchain.server import LARGEST_BATCH, LARGEST_BODY, ChainServer, PortUnavailable, running_server
from tests.localchain.programs import EMIT, REVERT, deploy, send, topic, word


@pytest.fixture
def server(chain: EmbeddedChain) -> Iterator[ChainServer]:
    with running_server(chain) as running:
        yield running


def exchange(
    server: ChainServer, body: bytes, method: str = "POST", headers: dict[str, str] | None = None
) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection(server.host, server.port, timeout=600)
    try:
        connection.request(method, "/", body, headers or {"Content-Type": "application/json"})
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read()
    finally:
        connection.close()


def ask(server: ChainServer, asked: Any) -> Any:
    status, _, body = exchange(server, json.dumps(asked).encode())
    assert status == 200
    return json.loads(body)


def call(method: str, *params: Any, number: Any = 1) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": number, "method": method, "params": list(params)}


def test_one_request(server: ChainServer) -> None:
    assert ask(server, call("eth_chainId")) == {"jsonrpc": "2.0", "id": 1, "result": "0x7a69"}
    assert ask(server, call("eth_chainId", number="seven"))["id"] == "seven"
    assert ask(server, {"jsonrpc": "2.0", "id": 1, "method": "eth_chainId"})["result"] == "0x7a69"


def test_a_connection_is_reused(server: ChainServer) -> None:
    connection = http.client.HTTPConnection(server.host, server.port, timeout=600)
    connection.connect()
    socket = connection.sock
    for number in range(5):
        connection.request("POST", "/", json.dumps(call("eth_blockNumber", number=number)))
        assert json.loads(connection.getresponse().read())["id"] == number
        assert connection.sock is socket
    connection.close()


def test_a_batch(server: ChainServer) -> None:
    answers = ask(
        server, [call("eth_chainId"), call("nonsense", number=2), {"method": 5}, call("net_version", number=3)]
    )
    assert answers[0]["result"] == "0x7a69"
    assert answers[1]["error"]["code"] == -32601
    assert answers[2]["error"]["code"] == -32600
    assert answers[3] == {"jsonrpc": "2.0", "id": 3, "result": "31337"}
    assert ask(server, [])["error"]["code"] == -32600
    assert "batch too large" in ask(server, [call("eth_chainId")] * (LARGEST_BATCH + 1))["error"]["message"]


def test_a_notification_gets_no_answer(server: ChainServer) -> None:
    status, _, body = exchange(server, json.dumps({"jsonrpc": "2.0", "method": "evm_mine"}).encode())
    assert (status, body) == (204, b"")
    assert ask(server, call("eth_blockNumber"))["result"] == "0x1"
    assert ask(server, [{"method": "evm_mine"}, call("eth_blockNumber")]) == [
        {"jsonrpc": "2.0", "id": 1, "result": "0x2"}
    ]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", -32700),
        (b"{", -32700),
        (b"\xff\xfe", -32700),
        (b"[" * 100_000, -32700),
        (b"7", -32600),
        (b'{"id": 1}', -32600),
        (b'{"id": 1, "method": "eth_chainId", "params": {}}', -32602),
    ],
)
def test_invalid_requests_are_refused(server: ChainServer, body: bytes, code: int) -> None:
    status, _, answer = exchange(server, body)
    assert status == 200
    assert json.loads(answer)["error"]["code"] == code


@pytest.mark.parametrize("closing", ["]", "}", '"]', "]\\"])
def test_brackets_in_a_text_do_not_hide_nesting(server: ChainServer, closing: str) -> None:
    """A count of brackets that reads closing ones in texts lets as many opening ones pass, which crashes the parser."""
    hiding = json.dumps({"id": 1, "a": closing * 135_000})[:-1]
    _, __, answer = exchange(server, f'{hiding}, "b": {"[" * 135_000}'.encode())
    assert "nested more than" in json.loads(answer)["error"]["message"]
    assert ask(server, call("eth_chainId"))["result"] == "0x7a69"


def test_a_raw_transaction_of_nested_lists_is_refused(server: ChainServer) -> None:
    heads, length = [b"\xc0"], 1
    while length < 1_000_000:
        size = length.to_bytes(3, "big").lstrip(b"\0")
        heads.append(bytes([0xC0 + length]) if length < 56 else bytes([0xF7 + len(size)]) + size)
        length += len(heads[-1])
    answer = ask(server, call("eth_sendRawTransaction", "0x" + b"".join(reversed(heads)).hex()))
    assert answer["error"] == {"code": -32000, "message": "rlp: nested too deep"}


def test_nesting_hidden_in_escapes_does_not_crash_the_process(server: ChainServer) -> None:
    """Typed data may be sent as a string whose brackets are escaped, which a count of brackets misses."""
    folded = json.dumps(call("eth_signTypedData_v4", "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266", "BRACKETS"))
    _, __, answer = exchange(server, folded.replace("BRACKETS", "\\u005b" * 200_000).encode())
    assert "nested more than" in json.loads(answer)["error"]["message"]
    assert ask(server, call("eth_chainId"))["result"] == "0x7a69"


def test_a_revert_carries_its_data(chain: EmbeddedChain, server: ChainServer) -> None:
    contract = deploy(chain, REVERT)
    error = ask(server, call("eth_call", {"to": contract, "data": "0x12345678" + word(7)[2:]}))["error"]
    assert error == {"code": 3, "message": "execution reverted", "data": "0x12345678" + word(7)[2:]}


def test_a_huge_body_is_refused(server: ChainServer) -> None:
    status, _, body = exchange(server, b" " * (LARGEST_BODY + 1))
    assert status == 413
    assert "request too large" in json.loads(body)["error"]["message"]
    assert ask(server, call("eth_chainId"))["result"] == "0x7a69"


def test_wallets_in_a_browser_have_access(server: ChainServer) -> None:
    origin = {"Origin": "https://wallet.example", "Access-Control-Request-Headers": "content-type"}
    status, headers, _ = exchange(server, b"", "OPTIONS", origin | {"Access-Control-Request-Method": "POST"})
    assert status == 204
    assert headers["Access-Control-Allow-Origin"] == "*"
    assert "POST" in headers["Access-Control-Allow-Methods"]
    _, headers, _ = exchange(server, json.dumps(call("eth_chainId")).encode(), headers=origin)
    assert headers["Access-Control-Allow-Origin"] == "*"


def test_other_http_methods_are_refused_with_a_hint(server: ChainServer) -> None:
    status, _, body = exchange(server, b"", "GET")
    assert status == 405
    assert "POST" in json.loads(body)["error"]["message"]


def test_subscriptions_need_a_websocket(server: ChainServer) -> None:
    assert "WebSocket" in ask(server, call("eth_subscribe", "newHeads"))["error"]["message"]


def test_a_taken_port_is_reported_with_a_next_step(server: ChainServer) -> None:
    with pytest.raises(PortUnavailable) as failure, running_server(EmbeddedChain(), server.port):
        pytest.fail("the port was free")
    assert f"Port {server.port}" in str(failure.value)
    assert failure.value.next_step is not None
    assert f"--port {server.port + 1}" in failure.value.next_step


def test_a_port_is_free_again_after_the_server(chain: EmbeddedChain) -> None:
    with running_server(chain) as first:
        port = first.port
        ask(first, call("eth_chainId"))
    with running_server(chain, port) as second:
        assert ask(second, call("eth_chainId"))["result"] == "0x7a69"


def test_a_slow_call_does_not_block_the_answers_to_invalid_requests(
    chain: EmbeddedChain, server: ChainServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    endless = deploy(chain, "@again :again JUMP")
    slow = call("eth_call", {"to": endless, "gas": hex(4_000_000)})
    running, go_on, request = threading.Event(), threading.Event(), chain.request

    def held_up(method: str, params: Sequence[Any] = ()) -> Any:
        running.set()
        assert go_on.wait(600)
        return request(method, params)

    monkeypatch.setattr(chain, "request", held_up)
    with concurrent.futures.ThreadPoolExecutor() as pool:
        answer = pool.submit(ask, server, slow)
        try:
            assert running.wait(600)
            assert ask(server, {"id": 1})["error"]["code"] == -32600
            assert not answer.done()
        finally:
            go_on.set()
        assert answer.result()["error"]["message"] == "out of gas"


def test_contracts_nest_as_deep_over_http_as_in_process(chain: EmbeddedChain, server: ChainServer) -> None:
    deep = deploy(chain, "PUSH0 PUSH0 PUSH0 PUSH0 ADDRESS GAS STATICCALL POP PUSH1 0x20 PUSH0 RETURN")
    assert ask(server, call("eth_call", {"to": deep, "gas": hex(10**10)}))["result"] == word(0)


class Bell:
    """A sleep that ends when the test rings, once for each ring."""

    def __init__(self) -> None:
        self.asked: list[float] = []
        self._rings = threading.Semaphore(0)
        self._pause = asyncio.sleep

    def ring(self) -> None:
        self._rings.release()

    async def sleep(self, seconds: float) -> None:
        self.asked.append(seconds)
        while not self._rings.acquire(blocking=False):
            await self._pause(0.01)


def test_blocks_at_an_interval(chain: EmbeddedChain, monkeypatch: pytest.MonkeyPatch) -> None:
    bell = Bell()
    monkeypatch.setattr(server_module, "asyncio", SimpleNamespace(**vars(asyncio) | {"sleep": bell.sleep}))
    with running_server(chain, block_time=7) as server:
        for number in range(2):
            sent = {"from": chain.accounts[0], "to": chain.accounts[1], "gas": hex(21_000)}
            transaction = ask(server, call("eth_sendTransaction", sent))["result"]
            assert ask(server, call("eth_getTransactionReceipt", transaction))["result"] is None
            assert int(chain.request("eth_blockNumber"), 16) == number
            bell.ring()
            while not ask(server, call("eth_getTransactionReceipt", transaction))["result"]:
                time.sleep(0.01)
            assert ask(server, call("eth_getTransactionReceipt", transaction))["result"]["status"] == "0x1"
    assert set(bell.asked) == {7}


# WebSocket


class Socket:
    """A WebSocket whose answers and notifications are read separately."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket
        self.reported: list[Any] = []
        self._numbers = iter(range(1, 10**6))

    async def ask(self, method: str, *params: Any) -> Any:
        number = next(self._numbers)
        await self.socket.send_json(call(method, *params, number=number))
        while True:
            message = await self.socket.receive_json(timeout=600)
            if message.get("id") == number:
                return message["result"] if "result" in message else message["error"]
            self.reported.append(message["params"])

    async def next(self) -> Any:
        if not self.reported:
            self.reported.append((await self.socket.receive_json(timeout=600))["params"])
        return self.reported.pop(0)


def over_websocket(server: ChainServer, work: Any) -> None:
    async def run() -> None:
        async with aiohttp.ClientSession() as session, session.ws_connect(server.ws_url) as socket:
            await work(Socket(socket))

    asyncio.run(run())


def test_a_websocket_answers_and_notifies(chain: EmbeddedChain, server: ChainServer) -> None:
    emitter = deploy(chain, EMIT)

    async def work(socket: Socket) -> None:
        heads, logs = (
            await socket.ask("eth_subscribe", "newHeads"),
            await socket.ask("eth_subscribe", "logs", {"topics": [topic("Seen()")]}),
        )
        sent = {"from": chain.accounts[0], "to": emitter, "data": topic("Seen()") + "ff", "gas": hex(100_000)}
        transaction = await socket.ask("eth_sendTransaction", sent)
        reported = {one["subscription"]: one["result"] for one in (await socket.next(), await socket.next())}
        receipt = await socket.ask("eth_getTransactionReceipt", transaction)
        assert reported[logs] == receipt["logs"][0]
        assert reported[heads]["hash"] == receipt["blockHash"]
        assert "transactions" not in reported[heads]
        assert await socket.ask("eth_unsubscribe", heads) is True
        assert (await socket.ask("eth_unsubscribe", heads))["message"] == "subscription not found"
        assert "nonsense" in (await socket.ask("eth_subscribe", "nonsense"))["message"]
        await socket.ask("evm_mine")
        assert socket.reported == []

    over_websocket(server, work)


def test_blocks_of_another_thread_are_notified_in_order(chain: EmbeddedChain, server: ChainServer) -> None:
    async def work(socket: Socket) -> None:
        await socket.ask("eth_subscribe", "newHeads")
        mining = asyncio.to_thread(lambda: [chain.request("evm_mine") for _ in range(500)])
        task = asyncio.create_task(mining)
        numbers = [int((await socket.next())["result"]["number"], 16) for _ in range(500)]
        await task
        assert numbers == list(range(1, 501))

    over_websocket(server, work)


def test_a_closed_websocket_ends_its_subscriptions(chain: EmbeddedChain, server: ChainServer) -> None:
    async def work(socket: Socket) -> None:
        await socket.ask("eth_subscribe", "newHeads")

    over_websocket(server, work)
    while chain._events._subscriptions:
        time.sleep(0.02)
    send(chain, chain.accounts[1])


def test_a_server_that_stops_closes_its_websockets(chain: EmbeddedChain) -> None:
    async def work() -> None:
        server = ChainServer(chain, port=0)
        await server.start()
        async with aiohttp.ClientSession() as session, session.ws_connect(server.ws_url) as socket:
            stopping = asyncio.create_task(server.stop())
            message = await socket.receive(timeout=600)
            assert message.type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED)
            assert message.data == aiohttp.WSCloseCode.GOING_AWAY
            await stopping

    asyncio.run(work())
