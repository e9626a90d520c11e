# SPDX-License-Identifier: Apache-2.0
"""Answers of broken or dishonest nodes: each is accepted as intended, or refused with a message and a next step."""

from __future__ import annotations

import asyncio
import gzip
import json
import time
from collections.abc import Callable, Coroutine, Iterator
from functools import cache
from typing import Any, TypeVar

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from eth_abi.abi import encode
from hypothesis import given, settings
from hypothesis import strategies as st

from serving_network.chain import node as node_module
from serving_network.chain import transport as transport_module
from serving_network.chain.connection import AsyncConnection, Connection
from serving_network.chain.node import AsyncNode, from_hex, from_quantity
from serving_network.chain.sender import AsyncSender
from serving_network.chain.transport import LONGEST_WAIT, RpcCall, TransientFailure, _in_order, _result, _seconds
from serving_network.clients import Provider
from serving_network.clients.read.earnings import earnings_of
from serving_network.clients.read.network import Network
from serving_network.contracts import load
from serving_network.contracts.codec import MalformedData
from serving_network.contracts.reverts import explain_revert, selectors
from serving_network.errors import ConfigurationError, NodeFailure, NodeUnreachable, RpcError, ServingError, WrongChain
from serving_network.money import WEI_PER_COIN as COIN
from tests.clients.network_fixture import World
from tests.clients.test_provider import signed
from tests.outside.clear import done_or_clear, is_clear
from tests.outside.nodes import Scripted, answer, http, raw_node, saying

T = TypeVar("T")
SOMEBODY = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"
HASH = "0x" + "ab" * 32


@pytest.fixture(autouse=True)
def no_long_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node_module, "FIRST_PAUSE", 0.001)


def run(work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(work)


def at_once(work: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that never waits, without the cost of an event loop."""
    try:
        work.send(None)
    except StopIteration as done:
        return done.value  # type: ignore[no-any-return]
    raise AssertionError("it waits for something")


def ask(reply: Any, question: Callable[[AsyncConnection], Any] = AsyncConnection.block_number, **options: Any) -> Any:
    """The result of a request to such a node."""

    async def work() -> Any:
        async with (
            raw_node(reply) as (url, _),
            await AsyncConnection.open(url, **({"attempts": 2, "timeout": 5} | options)) as chain,
        ):
            return await question(chain)

    return run(work())


def telling(**fields: Any) -> Callable[[Any], bytes]:
    """Answers with these fields instead of the correct ones; `...` omits one."""

    def reply(asked: Any) -> bytes:
        reported = answer(asked, "0x10") | fields
        return http(json.dumps({name: value for name, value in reported.items() if value is not ...}))

    return reply


UNREADABLE = {
    "429": http("", "429 Too Many Requests"),
    "429 with a date": http("", "429 Too Many Requests", "Retry-After: Wed, 21 Oct 2026 07:28:00 GMT\r\n"),
    "429 with nonsense": http("", "429 Too Many Requests", "Retry-After: -1e9\r\n"),
    "500": http("oh", "500 Internal Server Error"),
    "502 of a proxy": http("<html>bad gateway</html>", "502 Bad Gateway"),
    "404": http("<html>not here</html>", "404 Not Found"),
    "a status that is none": http("", "999 What"),
    "closed at once": b"",
    "not HTTP": b"\x00\x01\x02SSH-2.0-OpenSSH\r\n\r\n",
    "cut in the middle of the body": http('{"jsonrpc": "2.0", "id": 0, "res', length=900, headers="X-Then: close\r\n"),
    "cut in the middle of the head": b"HTTP/1.1 200 OK\r\nContent-Le\r\nX-Then: close",
    "half of JSON": http('{"jsonrpc": "2.0", "id": 0, "result": "0x'),
    "nothing": http(""),
    "not UTF-8": http(b'{"jsonrpc": "2.0", "id": 0, "result": "\xff"}'),
    "nested deeper than any parser": http("[" * 100_000),
    "nested deep in a result": http('{"jsonrpc": "2.0", "id": 0, "result": ' + "[" * 300 + "]" * 300 + "}"),
    "a number of 5000 digits": http('{"jsonrpc": "2.0", "id": 0, "result": ' + "9" * 5000 + "}"),
    "not a number": http('{"jsonrpc": "2.0", "id": 0, "result": NaN}'),
    "a key twice": http('{"jsonrpc": "2.0", "id": 0, "result": "0x1", "result": "0x2"}'),
    "null": http("null"),
    "a list": http("[]"),
    "a text": http('"0x10"'),
    "no result": telling(result=...),
    "an error that is null and no result": telling(result=..., error=None),
    "not compressed as it says": http(b"0x10", headers="Content-Encoding: gzip\r\n"),
    "chunks that are none": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-Then: close\r\n\r\nzz\r\n",
    "the answer to another question": telling(id=1),
    "an answer to true": telling(id=False),
    "an answer to a list": telling(id=[0]),
    "an answer to an object": telling(id={"a": 1}),
    "an answer to nothing": telling(id=None),
    "busy in words": telling(result=..., error={"code": -32005, "message": "\x1b[31mslow down\ud800"}),
}


@pytest.mark.parametrize("reply", UNREADABLE.values(), ids=UNREADABLE.keys())
def test_an_unreadable_answer_is_retried(reply: Any) -> None:
    began = time.monotonic()
    with pytest.raises(NodeUnreachable) as failure:
        ask(reply)
    is_clear(failure.value)
    assert failure.value.cause
    assert time.monotonic() - began < 600


@pytest.mark.parametrize(
    "error",
    ["words", "\x1b]0;title\x07", 5, True, [1], {"a": {}}, {"code": {}}, {"code": [], "message": {}}, {"code": "429"}],
)
def test_an_error_in_any_format_is_an_rpc_error(error: Any) -> None:
    with pytest.raises(RpcError) as failure:
        ask(telling(result=..., error=error))
    is_clear(failure.value)
    assert isinstance(failure.value.code, int)


@pytest.mark.parametrize(
    "data", [5, [], {"data": 5}, {"data": {"data": "0x"}}, "0x1", "0xzz", "Reverted 0x", "0x" + "00" * 999]
)
def test_the_data_of_an_error_may_be_anything(data: Any) -> None:
    with pytest.raises(ServingError) as failure:
        ask(telling(result=..., error={"code": 3, "message": "execution reverted", "data": data}), call_somebody)
    is_clear(failure.value)


async def call_somebody(chain: AsyncConnection) -> bytes:
    return await chain.call(SOMEBODY, b"\x12\x34\x56\x78")


def test_a_byte_order_mark_and_compression_are_accepted() -> None:
    assert ask(lambda asked: http(b"\xef\xbb\xbf" + json.dumps(answer(asked, "0x10")).encode())) == 16

    def packed(asked: Any) -> bytes:
        return http(gzip.compress(json.dumps(answer(asked, "0x10")).encode()), headers="Content-Encoding: gzip\r\n")

    assert ask(packed) == 16


def test_an_answer_that_is_too_large_is_not_read_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport_module, "LARGEST_ANSWER", 100_000)
    with pytest.raises(NodeUnreachable, match="does not answer") as failure:
        ask(http(" " * 200_000 + "1", length=1 << 40), timeout=600)
    assert "larger than 100000 bytes" in str(failure.value.cause)


@pytest.mark.parametrize("scheme", ["http", "ws"])
def test_a_node_that_never_answers_is_reported_and_asked_once(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node_module, "SILENCE", 0.01)
    connected: list[None] = []
    waited_for: list[str] = []

    async def silent() -> None:
        async def hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            connected.append(None)
            await reader.read()
            writer.close()
            await writer.wait_closed()
            gone.set()

        gone = asyncio.Event()
        server = await asyncio.start_server(hold, "127.0.0.1", 0)
        url = f"{scheme}://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        with pytest.raises(NodeUnreachable, match=f"{url} does not answer") as failure:
            await AsyncConnection.open(url, timeout=0.2, attempts=5, on_silence=waited_for.append)
        is_clear(failure.value)
        assert failure.value.cause == f"{url}: no answer in time"
        assert waited_for == [url]
        await gone.wait()
        server.close()

    run(silent())
    assert len(connected) == 1


def test_a_node_that_has_answered_is_asked_again_after_a_timeout() -> None:
    async def work() -> None:
        asked = 0

        async def serve(request: web.Request) -> web.Response:
            nonlocal asked
            question = await request.json()
            if question["method"] != "eth_chainId":
                asked += 1
                if asked == 1:
                    await asyncio.sleep(600)
            return web.json_response(answer(question, "0x10" if question["method"] != "eth_chainId" else "0x7a69"))

        app = web.Application()
        app.router.add_post("/", serve)
        server = TestServer(app)
        await server.start_server(shutdown_timeout=0)
        async with await AsyncConnection.open(str(server.make_url("/")), timeout=2, attempts=2) as chain:
            assert await chain.block_number() == 16
        await server.close()

    run(work())


def test_the_wait_for_a_busy_node_is_limited() -> None:
    assert [_seconds(one) for one in ("7", "0", None, "", "soon", "-3", "٣", "1.5")] == [7, 0, 0, 0, 0, 0, 0, 0]
    assert _seconds("9" * 400) == _seconds("86400") == LONGEST_WAIT

    async def busy_once() -> None:
        replies = [http("", "429 Too Many Requests", "Retry-After: 1\r\n")]
        async with (
            raw_node(lambda asked: replies.pop() if replies else saying("0x10")(asked)) as (url, _),
            await AsyncConnection.open(url) as chain,
        ):
            began = time.monotonic()
            assert await chain.block_number() == 16
            assert time.monotonic() - began >= 1

    run(busy_once())


@pytest.mark.parametrize(
    "url",
    [
        "http://",
        "http:///path",
        "http://[::1",
        "http://a:99999",
        "http://a..b",
        "http://a:x",
        "ws://",
        "http://a:0",
        "http://" + "a" * 70,
    ],
)
def test_an_unusable_url_is_reported_immediately(url: str) -> None:
    with pytest.raises(ConfigurationError) as failure:
        Connection.open(url)
    is_clear(failure.value)


# WebSockets


@pytest.mark.parametrize(
    "said",
    [
        "[" * 100_000,
        '{"jsonrpc": "2.0", "id": 3, "resu',
        '{"id": [1], "result": "0x10"}',
        '{"id": {"a": 1}, "result": "0x10"}',
        '{"id": true, "result": "0x10"}',
        '{"id": 999, "result": "0x10"}',
        "[]",
        "\0",
        None,
    ],
    ids=["deep", "half", "a list as id", "an object as id", "true as id", "another id", "a list", "NUL", "closed"],
)
def test_an_invalid_websocket_message_is_not_an_answer(said: str | None) -> None:
    async def work() -> None:
        async def serve(request: web.Request) -> web.WebSocketResponse:
            socket = web.WebSocketResponse()
            await socket.prepare(request)
            async for message in socket:
                asked = json.loads(message.data)
                if asked["method"] == "eth_chainId":
                    await socket.send_json(answer(asked, "0x7a69"))
                elif said is None:
                    await socket.close()
                else:
                    await socket.send_str(said)
            return socket

        app = web.Application()
        app.router.add_get("/", serve)
        server = TestServer(app)
        await server.start_server()
        url = str(server.make_url("/")).replace("http", "ws", 1)
        async with await AsyncConnection.open(url, timeout=0.3, attempts=2) as chain:
            with pytest.raises(NodeUnreachable) as failure:
                await chain.block_number()
            is_clear(failure.value)
            assert await chain.rpc("eth_chainId") == "0x7a69"
        await server.close()

    run(work())


# Batches


def test_an_incomplete_batch_is_not_an_answer() -> None:
    good = [{"id": number, "result": number} for number in range(3)]
    assert _in_order(good[::-1], 3) == [0, 1, 2]
    for bad in (
        good[:2],
        [*good, good[0]],
        [good[0], good[0], good[1]],
        [*good[:2], None],
        [*good[:2], {"id": [2], "result": 2}],
        [*good[:2], {"id": True, "result": 2}],
        [*good[:2], {"id": 2, "error": {"code": 429}}],
        [],
    ):
        with pytest.raises(TransientFailure):
            _in_order(bad, 3)
    refused = _in_order([*good[:2], {"id": 2, "error": {"code": 3, "message": "no"}}], 3)
    assert refused[:2] == [0, 1]
    assert isinstance(refused[2], RpcError)


def test_a_busy_node_gets_the_batch_again() -> None:
    async def work() -> None:
        busy = [http(json.dumps({"jsonrpc": "2.0", "id": None, "error": {"code": -32005, "message": "busy"}}))]
        async with (
            raw_node(lambda asked: busy.pop() if busy else saying("0x10")(asked)) as (url, asked),
            await AsyncConnection.open(url) as chain,
        ):
            assert await chain.batch([("eth_blockNumber", [])] * 3) == ["0x10"] * 3
            assert [isinstance(one, list) for one in asked] == [True, True]

    run(work())


# Values


class Saying:
    """A transport to a node that answers every request with one value."""

    where = "a node of the test"

    def __init__(self, value: Any) -> None:
        self.value = value

    async def ask(self, calls: list[RpcCall]) -> list[Any | RpcError]:
        return [
            "0x7a69" if method == "eth_chainId" else _result({"id": 0, "result": self.value}, 0) for method, _ in calls
        ]

    async def close(self) -> None:
        pass


QUESTIONS: dict[str, Callable[[AsyncSender], Any]] = {
    "block_number": AsyncNode.block_number,
    "block": AsyncNode.block,
    "block 5": lambda chain: chain.block(5),
    "block_hash": lambda chain: chain.block_hash(5),
    "balance": lambda chain: chain.balance(SOMEBODY),
    "code": lambda chain: chain.code(SOMEBODY),
    "call": lambda chain: chain.call(SOMEBODY, b""),
    "call_many": lambda chain: chain.call_many([(SOMEBODY, b"")]),
    "logs": lambda chain: chain.logs([SOMEBODY], from_block=0, to_block=9),
    "receipt": lambda chain: chain.receipt(HASH),
    "transaction": lambda chain: chain.transaction(HASH),
    "fees": AsyncSender.suggested_fees,
    "gas": lambda chain: chain.estimate_gas(SOMEBODY, SOMEBODY, b""),
    "chain id": AsyncSender.check_chain_id,
}

LOG: dict[str, Any] = {
    "address": SOMEBODY,
    "topics": [HASH],
    "data": "0x",
    "blockNumber": "0x5",
    "blockHash": HASH,
    "transactionHash": HASH,
    "logIndex": "0x0",
    "removed": False,
}
RECEIPT: dict[str, Any] = {
    "transactionHash": HASH,
    "blockHash": HASH,
    "blockNumber": "0x5",
    "status": "0x1",
    "gasUsed": "0x5208",
    "effectiveGasPrice": "0x1",
    "contractAddress": None,
    "logs": [LOG],
}
TRANSACTION: dict[str, Any] = {
    "hash": HASH,
    "from": SOMEBODY,
    "to": SOMEBODY,
    "input": "0x",
    "value": "0x0",
    "nonce": "0x0",
    "gas": "0x5208",
}
BLOCK: dict[str, Any] = {"hash": HASH, "number": "0x5", "timestamp": "0x5", "baseFeePerGas": "0x7"}
HONEST: list[Any] = ["0x10", "0x", HASH, LOG, [LOG], RECEIPT, TRANSACTION, BLOCK]

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 10**30),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from(
        [
            "",
            "0x",
            "0x0",
            "0x1",
            "1",
            "-0x1",
            "0x1_0",
            " 0x1",
            "0x٣",
            "0xg",
            HASH,
            SOMEBODY,
            "\ud800",
            "\x1b[2J",
            "0x" + "f" * 65,
        ]
    ),
    st.text(max_size=8),
)
JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
)


@st.composite
def damaged(draw: st.DrawFn) -> Any:
    """A correct answer with one value in it replaced or omitted, at any depth."""

    def damage(value: Any) -> Any:
        if isinstance(value, dict) and draw(st.booleans()):
            name = draw(st.sampled_from(sorted(value)))
            if draw(st.booleans()):
                return {key: one for key, one in value.items() if key != name}
            return value | {name: damage(value[name])}
        if isinstance(value, list) and value and draw(st.booleans()):
            return [*value, damage(value[0])]
        if isinstance(value, str) and draw(st.booleans()):
            return value[: draw(st.integers(0, len(value)))]
        return draw(SCALARS)

    return damage(draw(st.sampled_from(HONEST)))


@settings(max_examples=250)
@given(question=st.sampled_from(sorted(QUESTIONS)), value=st.one_of(JSON, damaged()))
def test_any_answer_of_a_node_is_accepted_or_refused(question: str, value: Any) -> None:
    chain = AsyncSender([Saying(value)], 31337, 1)
    found = done_or_clear(lambda: at_once(QUESTIONS[question](chain)))
    if question in ("block_number", "balance", "gas") and found is not None:
        assert found >= 0
        assert isinstance(value, str)
        assert value.startswith("0x")
    if question == "receipt" and found is not None:
        assert value["transactionHash"] == HASH
        assert all(one["transactionHash"] == HASH for one in value["logs"])


@pytest.mark.parametrize(
    "value", ["-0x1", "0x", "1", "16", 16, " 0x1", "0x1_0", "0x1 ", "0x1\n", True, None, "0x" + "1" * 65]
)
def test_only_protocol_numbers_are_accepted(value: Any) -> None:
    with pytest.raises(NodeFailure):
        from_quantity(value)


@pytest.mark.parametrize("value", ["0x0", "0x 00", "0x00 ", "0x0g", "00\n", b"00", 0, None, ["00"]])
def test_only_protocol_data_is_accepted(value: Any) -> None:
    with pytest.raises(NodeFailure):
        from_hex(value)


@pytest.mark.parametrize(
    "change",
    [
        {"address": "0x" + "11" * 20},
        {"blockNumber": "0xa"},
        {"topics": ["0x" + "cd" * 32]},
        {"removed": True},
        {"topics": HASH},
        {"topics": [HASH[:-2]]},
        {"data": None},
    ],
)
def test_events_that_were_not_requested_are_refused(change: dict[str, Any]) -> None:
    def logs(*reported: Any) -> Any:
        chain = AsyncSender([Saying(list(reported))], 31337, 1)
        return run(chain.logs([SOMEBODY], topics=[HASH], from_block=0, to_block=9))

    later = LOG | {"logIndex": "0xa", "data": "0x01"}
    assert logs(later, LOG) == [LOG, later]
    with pytest.raises(NodeFailure, match="twice"):
        logs(LOG, LOG)
    with pytest.raises(NodeFailure) as failure:
        logs(LOG, later | change)
    is_clear(failure.value)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"transactionHash": "0x" + "cd" * 32}, "of another transaction"),
        ({"logs": None}, "incomplete"),
        ({"logs": ...}, "incomplete"),
        ({"logs": [LOG | {"transactionHash": "0x" + "cd" * 32}]}, "events of another transaction"),
        ({"logs": [LOG | {"blockHash": "0x" + "cd" * 32}]}, "events of another transaction or block"),
        ({"status": "0x2"}, "incomplete"),
        ({"status": ...}, "incomplete"),
        ({"blockHash": None}, "incomplete"),
        ({"blockNumber": None}, "instead of a number"),
        ({"contractAddress": "0x12"}, "incomplete"),
    ],
)
def test_a_receipt_must_be_complete_and_of_this_transaction(change: dict[str, Any], says: str) -> None:
    reported = {name: value for name, value in (RECEIPT | change).items() if value is not ...}
    with pytest.raises(NodeFailure, match=says) as failure:
        run(AsyncSender([Saying(reported)], 31337, 1).receipt(HASH))
    is_clear(failure.value)


def test_another_block_than_the_requested_one_is_refused() -> None:
    chain = AsyncSender([Saying(BLOCK)], 31337, 1)
    assert run(chain.block(5)) == BLOCK
    with pytest.raises(NodeFailure, match="instead of 6"):
        run(chain.block(6))


# The chain id


def test_a_chain_that_changes_while_it_is_used_is_noticed_before_anything_is_signed(world: World) -> None:
    reported = ["0x7a69"]

    def change(method: str, _: list[Any], found: Any) -> Any:
        return reported[0] if method == "eth_chainId" else found

    with Connection.open(Scripted(world.chain, change)) as chain:
        reported[0] = "0x1"
        before = chain.block_number()
        with pytest.raises(WrongChain) as failure:
            chain.send(world.network.signer(7), SOMEBODY, b"", value=1)
        is_clear(failure.value)
        assert chain.block_number() == before


def test_the_chain_id_is_checked_again_after_a_failure() -> None:
    async def work() -> None:
        ids = ["0x7a69"]
        async with (
            raw_node(http("", "503 Gone"), chain_id=lambda: ids[0]) as (url, _),
            await AsyncConnection.open(url) as chain,
        ):
            ids[0] = "0x1"
            with pytest.raises(WrongChain):
                await chain.block_number()

    run(work())


# Settlements


def settled(world: World, change: Callable[[str, list[Any], Any], Any]) -> Any:
    """The client's results of two settlements that were sent, with a node whose answers are changed."""
    rows = [signed(world, world.user.address, COIN, 1), signed(world, world.user.address, COIN, 2)]
    with Connection.open(Scripted(world.chain, change)) as chain:
        return Provider(chain, world.network.signer(1)).settle(rows)


def in_receipts(edit: Callable[[list[Any]], list[Any]]) -> Callable[[str, list[Any], Any], Any]:
    def change(method: str, _: list[Any], found: Any) -> Any:
        if method == "eth_getTransactionReceipt" and found:
            return found | {"logs": edit(found["logs"])}
        return found

    return change


@pytest.mark.parametrize(
    "edit",
    [
        lambda _: [],
        lambda logs: logs[:-1],
        lambda logs: [log | {"data": log["data"][:-64]} for log in logs],
        lambda logs: [
            log | {"topics": [log["topics"][0], *("0x" + "11" * 32 for _ in log["topics"][1:])]} for log in logs
        ],
        lambda logs: [log | {"data": "0x" + "ff" * (len(log["data"]) // 2 - 1)} for log in logs],
    ],
    ids=["no events", "one too few", "cut", "of somebody else", "all ones"],
)
def test_results_are_not_made_up_from_a_receipt_that_lacks_them(
    world: World, edit: Callable[[list[Any]], list[Any]]
) -> None:
    world.with_account()
    with pytest.raises(NodeFailure) as failure:
        settled(world, in_receipts(edit))
    is_clear(failure.value)
    reported: list[Any] = world.provider.settle([signed(world, world.user.address, COIN, 2)])
    assert [one.paid for one in reported] == [0]


def test_earnings_are_not_made_up_from_events_without_their_transaction(world: World) -> None:
    world.with_account()
    assert [one.paid for one in settled(world, lambda _, __, found: found)] == [COIN, COIN]
    provider = world.provider.address

    def earned(change: Callable[[str, list[Any], Any], Any]) -> Any:
        with Connection.open(Scripted(world.chain, change)) as chain:
            return chain.runner.run(earnings_of(Network(chain).core, provider))

    assert sum(one.paid for one in earned(lambda _, __, found: found)) == 2 * COIN
    for change in (
        lambda method, _, found: None if method == "eth_getTransactionByHash" else found,
        lambda method, _, found: found[:-1] if method == "eth_getLogs" else found,
        lambda method, _, found: found | {"input": "0x12"} if method == "eth_getTransactionByHash" else found,
    ):
        with pytest.raises(NodeFailure) as failure:
            earned(change)
        is_clear(failure.value)


# Results of contracts

READS: dict[str, Callable[[Network, World], Any]] = {
    "versions": lambda network, _: network.versions(),
    "service": lambda network, _: network.service().address,
    "ledger": lambda network, world: network.ledger(world.user.address),
    "ledgers": lambda network, _: network.ledgers(),
    "minimums": lambda network, _: network.minimums(),
    "account": lambda network, world: network.account(world.user.address, world.provider.address),
    "accounts": lambda network, world: network.accounts(user=world.user.address),
    "accounts_with": lambda network, world: network.accounts_with(world.provider.address, [world.user.address]),
    "balances": lambda network, world: network.balances(world.user.address),
    "offers": lambda network, _: network.offers(),
    "offer": lambda network, world: network.offer(world.provider.address),
    "settings": lambda network, _: network.settings(),
    "past_events": lambda network, _: network.past_events(from_block=0),
}


@pytest.fixture(scope="module")
def peopled(deployed: World) -> Iterator[tuple[World, dict[str, Any]]]:
    """The world with a provider and a user, and the correct result of each read."""
    with deployed.network.reset_afterwards():
        deployed.with_account()
        network = Network(deployed.connection)
        yield deployed, {name: read(network, deployed) for name, read in READS.items()}


CUTS: dict[str, Callable[[str, int], str]] = {
    "cut": lambda text, at: text[: 2 + at % (len(text) - 2) // 2 * 2],
    "empty": lambda _, __: "0x",
    "excess": lambda text, at: text + "ab" * (1 + at % 64),
    "doubled": lambda text, _: text + text[2:],
    "half a digit": lambda text, _: text[:-1],
    "flipped": lambda text, at: text[: 2 + at % (len(text) - 2)] + "f" + text[3 + at % (len(text) - 2) :],
    "all ones": lambda text, _: "0x" + "f" * (len(text) - 2),
    "zeros": lambda text, _: "0x" + "0" * (len(text) - 2),
    "one word": lambda text, at: text[:2] + text[2 + at % (len(text) // 64 + 1) * 64 :],
}


@settings(max_examples=100)
@given(
    read=st.sampled_from(sorted(READS)),
    how=st.sampled_from(sorted(CUTS)),
    at=st.integers(0, 5000),
    which=st.integers(0, 6),
)
def test_invalid_results_of_contracts_are_refused_as_a_whole(
    peopled: tuple[World, dict[str, Any]], *, read: str, how: str, at: int, which: int
) -> None:
    world, truth = peopled
    calls = [0]

    def change(method: str, _: list[Any], found: Any) -> Any:
        if method != "eth_call" or len(found) < 4:
            return found
        calls[0] += 1
        return CUTS[how](found, at) if calls[0] == which + 1 else found

    with Connection.open(Scripted(world.chain, change)) as chain:
        began = time.process_time()
        found = done_or_clear(lambda: READS[read](Network(chain), world))
        assert time.process_time() - began < 2
    if calls[0] <= which or (how in ("excess", "doubled") and found is not None):
        assert found == truth[read]
    elif how in ("cut", "empty", "half a digit"):
        assert found is None


@pytest.mark.parametrize(
    ("total", "count"),
    [
        (lambda _: 2, lambda *_: 0),
        (lambda look: 100 + look, lambda _, size: size),
        (lambda _: 100, lambda _, size: size + 1),
        (lambda _: 2**255, lambda _, size: size),
    ],
    ids=["fewer than there are", "a list that grows", "more than were asked for", "the same page for ever"],
)
def test_contradictory_pages_are_refused(
    monkeypatch: pytest.MonkeyPatch, world: World, total: Callable[[int], int], count: Callable[[int, int], int]
) -> None:
    looks = 0

    @cache
    def page(entries: int, of: int) -> bytes:
        ledgers = [("0x" + "11" * 20, 7, 7, "")] * entries
        return encode(["(address,uint256,uint256,string)[]", "uint256"], [ledgers, of])

    def answer_to(data: bytes, block: Any) -> bytes:
        nonlocal looks
        looks += 1
        assert block >= 0
        return page(count(looks, int.from_bytes(data[-32:])), total(looks))

    async def call(_: AsyncNode, __: str, data: bytes, *, block: Any) -> bytes:
        assert looks < 50
        return answer_to(data, block)

    async def call_each(_: AsyncNode, calls: list[tuple[str, bytes]], *, block: Any, at_once: int) -> list[bytes]:
        assert looks < 50
        assert at_once == node_module.CALLS_PER_BATCH
        return [answer_to(data, block) for _, data in calls]

    monkeypatch.setattr(AsyncNode, "call", call)
    monkeypatch.setattr(AsyncNode, "call_each", call_each)
    with pytest.raises(NodeFailure) as failure:
        Network(world.connection).ledgers()
    assert looks <= 1001
    is_clear(failure.value)


@settings(max_examples=150)
@given(
    selector=st.sampled_from(
        [*sorted(selectors()), bytes.fromhex("08c379a0"), bytes.fromhex("4e487b71"), b"1234", b""]
    ),
    body=st.one_of(
        st.binary(max_size=200),
        st.lists(st.sampled_from([0, 1, 32, 64, 96, 2**255, 2**256 - 1]), max_size=8).map(
            lambda words: b"".join(one.to_bytes(32, "big") for one in words)
        ),
    ),
)
def test_any_revert_is_a_clear_error(selector: bytes, body: bytes) -> None:
    error = explain_revert(selector + body)
    is_clear(error)


@pytest.mark.parametrize("text", ["\x1b[31mred", "\u202eevil", "a\nb", "x" * 100_000])
def test_the_message_of_a_contract_cannot_control_the_terminal(text: str) -> None:
    is_clear(explain_revert(bytes.fromhex("08c379a0") + encode(["string"], [text])))
    is_clear(explain_revert(b"\x12\x34\x56\x78" + text.encode() * 100))


@pytest.mark.parametrize(
    "change",
    [
        {"topics": "0x"},
        {"topics": [5]},
        {"topics": None},
        {"topics": ["0x" + "11" * 31, "0x" + "22" * 33]},
        {"address": 5},
        {"address": None},
        {"data": None},
        {"data": 7},
        {"blockNumber": "-0x1"},
        {"blockNumber": True},
        {"logIndex": "1"},
        {"transactionHash": 5.5},
    ],
)
def test_an_incomplete_log_is_malformed(change: dict[str, Any]) -> None:
    interface = load("InferenceServing").interface
    log = LOG | {
        "topics": ["0x" + interface.topic("ProviderStaked").hex(), "0x" + "00" * 12 + SOMEBODY[2:]],
        "data": "0x" + (7).to_bytes(32, "big").hex(),
    }
    event = interface.decode_log(log)
    assert event is not None
    assert 7 in event.args.values()
    if isinstance(change.get("topics"), list) and len(change["topics"]) == 2:
        change = {"topics": [log["topics"][0][:-2], log["topics"][1] + "00"]}
    with pytest.raises(MalformedData) as failure:
        interface.decode_log(log | change)
    is_clear(failure.value)


@settings(max_examples=100)
@given(log=st.one_of(JSON, st.fixed_dictionaries({"address": SCALARS, "topics": JSON, "data": SCALARS}), damaged()))
def test_any_log_is_an_event_unknown_or_malformed(log: Any) -> None:
    interface = load("InferenceServing").interface
    topic = "0x" + interface.topic("BatchRowSettled").hex()
    if isinstance(log, dict) and isinstance(log.get("topics"), list) and log["topics"]:
        log = log | {"topics": [topic, *log["topics"][1:]]}
    try:
        interface.decode_log(log)
    except MalformedData as error:
        is_clear(error)
