# SPDX-License-Identifier: Apache-2.0
"""The errors of hosted nodes, in their words: a rate limit is retried, a range that is too wide is split."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from serving_network.chain import node as node_module
from serving_network.chain.node import AsyncNode
from serving_network.chain.transport import RpcCall, _result
from serving_network.errors import NodeUnreachable, RpcError

HASH = "0x" + "ab" * 32
ADDRESS = "0x" + "11" * 20

RATE_LIMITS = [
    (429, "Your app has exceeded its compute units per second capacity. If you have retries enabled, ignore this."),
    (-32005, "daily request count exceeded, request rate limited"),
    (-32005, "You've exceeded the RPS limit available on the current plan."),
    (-32005, "slow down"),
    (-32007, "50/second request limit reached - reduce calls per second or upgrade your account"),
    (-32012, "backend is over capacity"),
    (-32016, "over rate limit"),
    (-32029, "Too Many Requests"),
    (-32097, "Rate limit exceeded, please try again later."),
    (-32000, "too many requests, reason: call rate limit exhausted, retry in 10s"),
    (15, "Too many requests, try again later"),
]
WIDE_RANGES = [
    (-32005, "query returned more than 10000 results. Try with this block range [0x0, 0x3].", None),
    (-32005, "block range too large, max range: 3", None),
    (-32005, "limit exceeded", None),
    (-32602, "range 7 exceeds limit of 3", None),
    (-32602, "invalid params", {"payload": "range 7 is bigger than range limit 3"}),
    (-32602, "Log response size exceeded. You can make eth_getLogs requests with up to a 2K block range", None),
    (-32600, "Under the Free tier plan, you can make eth_getLogs requests with up to a 10 block range.", None),
    (-32600, "block range too high", None),
    (-32614, "eth_getLogs is limited to a 10,000 range", None),
    (-32062, "Block range is too large", None),
    (-32047, "Invalid eth_getLogs request. 'fromBlock'-'toBlock' range too large. Max range: 3", None),
    (-32016, "Query timed out. Reduce the block range.", None),
    (-32000, "block range is too wide (maximum 3)", None),
    (-32000, "requested too many blocks from 0 to 7, maximum is set to 3", None),
    (35, "ranges over 10000 blocks are not supported on freetier", None),
]


class Host:
    """A transport to a hosted node whose first answers, or answers about more than `most` blocks, are an error."""

    where = "a hosted node"

    def __init__(self, code: int, message: str, data: Any = None, *, first: int = 0, most: int = 10**6) -> None:
        self.error = {"code": code, "message": message, "data": data}
        self.first = first
        self.most = most
        self.ranges: list[tuple[int, int]] = []

    async def ask(self, calls: list[RpcCall]) -> list[Any | RpcError]:
        ((method, params),) = calls
        if method == "eth_chainId":
            return ["0x1"]
        start, end = int(params[0]["fromBlock"], 16), int(params[0]["toBlock"], 16)
        self.ranges.append((start, end))
        self.first -= 1
        if self.first >= 0 or end - start >= self.most:
            return [_result({"id": 0, "error": self.error})]
        return [[log(number) for number in range(start, end + 1)]]

    async def close(self) -> None: ...


def log(number: int) -> dict[str, Any]:
    place = {"blockNumber": hex(number), "logIndex": "0x0", "blockHash": HASH, "transactionHash": HASH}
    return {"address": ADDRESS, "topics": [], "data": "0x", **place}


def logs_of(host: Host, *, attempts: int = 3) -> list[int]:
    async def work() -> list[int]:
        node = AsyncNode([host], None, attempts)
        return [int(one["blockNumber"], 16) for one in await node.logs([ADDRESS], from_block=0, to_block=7)]

    return asyncio.run(work())


@pytest.fixture(autouse=True)
def no_long_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node_module, "FIRST_PAUSE", 0.0)


@pytest.mark.parametrize(("code", "message"), RATE_LIMITS)
def test_a_rate_limit_is_retried_and_splits_nothing(code: int, message: str) -> None:
    host = Host(code, message, first=2)
    assert logs_of(host) == list(range(8))
    assert host.ranges == [(0, 7)] * 3
    with pytest.raises(NodeUnreachable):
        logs_of(Host(code, message, first=3))


@pytest.mark.parametrize(("code", "message", "data"), WIDE_RANGES)
def test_a_range_that_is_too_wide_is_split_and_not_retried(code: int, message: str, data: Any) -> None:
    host = Host(code, message, data, most=3)
    assert logs_of(host) == list(range(8))
    assert host.ranges == [(0, 7), (0, 3), (0, 1), (2, 3), (4, 7), (4, 5), (6, 7)]


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (3, "execution reverted: rate limit exceeded"),
        (-32000, "execution reverted: too many requests"),
        (-32016, "VM execution error: Reverted 0x08c379a0"),
        (-32000, "header not found"),
    ],
)
def test_other_errors_are_reported_at_once(code: int, message: str) -> None:
    host = Host(code, message, first=1)
    with pytest.raises(RpcError) as failure:
        asyncio.run(AsyncNode([host], None, 3).rpc("eth_call", [{"fromBlock": "0x0", "toBlock": "0x0"}]))
    assert (failure.value.code, len(host.ranges)) == (code, 1)
