# SPDX-License-Identifier: Apache-2.0
"""Requests per minute, blocked users, and the memory budget."""

from __future__ import annotations

import asyncio
import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving_network.errors import ConfigurationError
from serving_network.gateway import admission, application
from serving_network.gateway import limits as limits_module
from serving_network.gateway.limits import Departures, Limits, RateLimiter
from serving_network.gateway.memory import Memory
from serving_network.gateway.refusals import RequestRefused
from serving_network.gateway.settings import Settings, read_settings
from serving_network.gateway.upstreams import UpstreamSettings
from serving_network.messages.session_tokens import SessionToken
from tests.gateway.stage import CHAT, STRANGER, Stage, plain

USERS = ["0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC", "0x90F79bf6EB2c4f870365E785982E1f101E93b906"]


def token(user: int = 0, token_id: int = 255) -> SessionToken:
    return SessionToken(USERS[user], USERS[1], 0, 0, "", 0, token_id)


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def passes(limiter: RateLimiter, one: SessionToken) -> bool:
    try:
        limiter.count(one)
    except RequestRefused as refusal:
        return refusal.status != 429
    return True


def test_a_minute_s_requests_may_come_at_once_and_then_at_the_average() -> None:
    clock = Clock()
    limiter = RateLimiter(Limits(user_rate=6), clock)
    assert [passes(limiter, token()) for _ in range(8)] == [True] * 6 + [False] * 2
    with pytest.raises(RequestRefused, match="more than 6 requests per minute") as refused:
        limiter.count(token())
    assert refused.value.retry_after == 10
    assert passes(limiter, token(1))
    clock.now += 9.9
    assert not passes(limiter, token())
    clock.now += 0.1
    assert [passes(limiter, token()) for _ in range(2)] == [True, False]
    clock.now += 3600
    assert [passes(limiter, token()) for _ in range(7)] == [True] * 6 + [False]


def test_keys_have_a_rate_of_their_own() -> None:
    limiter = RateLimiter(Limits(user_rate=None, key_rate=1), Clock())
    assert [passes(limiter, token(token_id=key)) for key in (1, 1, 2, 255)] == [True, False, True, True]


@given(st.integers(1, 50), st.lists(st.floats(0, 30), max_size=60))
def test_no_minute_has_more_than_twice_the_rate(rate: int, pauses: list[float]) -> None:
    clock = Clock()
    limiter = RateLimiter(Limits(user_rate=rate), clock)
    times = []
    for pause in pauses:
        clock.now += pause
        if passes(limiter, token()):
            times.append(clock.now)
    for start in times:
        assert sum(start <= one < start + 60 for one in times) <= 2 * rate


def test_the_number_of_known_users_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits_module, "MAX_KNOWN", 3)
    limiter = RateLimiter(Limits(key_rate=1), Clock())
    for key in range(100):
        limiter.count(token(token_id=key))
    assert len(limiter._keys._restored) == 3


def test_a_blocked_user_is_refused_in_any_spelling() -> None:
    limiter = RateLimiter(Settings(USERS[1], "http://a/v1", blocked=[USERS[0].upper().replace("X", "x")]).limits())
    with pytest.raises(RequestRefused) as refused:
        limiter.count(token())
    assert (refused.value.status, refused.value.code) == (403, "blocked")
    limiter.count(token(1))


def test_departures_are_counted_for_a_minute() -> None:
    clock = Clock()
    departures = Departures(clock)
    for expected in (False, False, True):
        departures.count(USERS[0])
        assert departures.are_many(USERS[0]) is expected
        clock.now += 20
    assert not departures.are_many(USERS[0])  # the first was a minute ago
    departures.count(USERS[0])
    assert departures.are_many(USERS[0])
    assert not departures.are_many(USERS[1])


def test_a_user_who_leaves_three_answers_has_one_request_at_a_time(stage: Stage) -> None:
    release = asyncio.Event()

    async def held(request: Any, body: dict[str, Any]) -> Any:
        await release.wait()
        return await plain(request, body)

    async def scenario() -> None:
        token = stage.token()
        async with stage.gate(held) as gate:

            async def start(number: int) -> asyncio.Task[tuple[int, Any, str]]:
                task = asyncio.create_task(gate.chat(token))
                while len(gate.model.seen) < number:
                    await asyncio.sleep(0.01)
                return task

            for number in (1, 2, 3):
                (await start(number)).cancel()
            await asyncio.sleep(0.1)
            status, refusal, _ = await gate.chat(token)
            assert (status, refusal["error"]["code"]) == (429, "too_many_requests")
            release.set()
            await gate.idle()
            assert (await gate.chat(token))[0] == 200
            assert len(await gate.receipts(token)) == 4

    asyncio.run(scenario())


def test_signatures_are_looked_up_so_often_by_one_address(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(application, "SIGNATURES_PER_MINUTE", 2)
    path = "/v1/signature/0f8fad5b-d9cb-469f-a165-70867728950e"

    async def scenario() -> None:
        async with stage.gate() as gate:

            async def status(forwarded: str | None) -> int:
                headers = {} if forwarded is None else {"X-Forwarded-For": forwarded}
                async with gate.http.get(gate.url(path), headers=headers) as answer:
                    return answer.status

            # What a client writes stands before the address that the proxy adds.
            addresses = [None, None, None, "1.2.3.4", "9.9.9.9, 1.2.3.4", "8.8.8.8,1.2.3.4", "5.6.7.8"]
            assert [await status(one) for one in addresses] == [404, 404, 429, 404, 404, 429, 404]

    asyncio.run(scenario())


@pytest.mark.parametrize("path", ["/v1/models", "/v1/quote", "/healthz"])
def test_routes_without_a_token_are_read_so_often_by_one_address(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    """Of IPv6, one customer has all addresses of a network. Paid routes have limits of their own."""
    monkeypatch.setattr(application, "OPEN_READS_PER_MINUTE", 2)

    async def scenario() -> None:
        async with stage.gate() as gate:

            async def status(forwarded: str) -> int:
                async with gate.http.get(gate.url(path), headers={"X-Forwarded-For": forwarded}) as answer:
                    return answer.status

            addresses = ["1.2.3.4", "1.2.3.4", "::ffff:1.2.3.4", "2001:db8::1", "2001:db8::2", "2001:db8::3", "::1"]
            assert [await status(one) for one in addresses] == [200, 200, 429, 200, 200, 429, 200]
            assert (await gate.chat(stage.token()))[0] == 200

    asyncio.run(scenario())


def test_memory_is_given_back_once() -> None:
    memory = Memory(10)
    first, second = memory.share(), memory.share()
    first.grow(4)
    second.grow(6)
    with pytest.raises(RequestRefused) as refused:
        first.grow(1)
    assert (refused.value.status, refused.value.retry_after) == (503, 1)
    first.free()
    first.free()
    assert memory.used == 6
    second.grow(4)
    second.free()
    assert memory.used == 0


def test_users_over_their_rate_learn_when_to_try_again(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission, "RateLimiter", partial(RateLimiter, clock=lambda: 0.0))  # the clock stands still

    async def scenario() -> None:
        async with stage.gate(requests_per_minute_of_user=2) as gate:
            for expected in (200, 200, 429, 429):
                headers = {"Authorization": stage.token()}
                async with gate.http.post(gate.url("/v1/chat/completions"), json=CHAT, headers=headers) as answer:
                    assert answer.status == expected
                    assert (answer.headers.get("Retry-After") == "30") is (expected == 429)
            # Receipts can still be read, and another user is not concerned.
            assert len(await gate.receipts(stage.token())) == len(gate.model.seen) == 2
            assert (await gate.chat(stage.token(STRANGER)))[0] == 402

    asyncio.run(scenario())


def test_a_blocked_user_can_read_receipts_only(stage: Stage) -> None:
    async def scenario() -> None:
        async with stage.gate(blocked=[stage.world.user.address]) as gate:
            assert (await gate.chat(stage.token()))[0] == 403
            assert await gate.receipts(stage.token()) == []

    asyncio.run(scenario())


def test_a_key_has_so_many_requests_at_once(stage: Stage) -> None:
    release = asyncio.Event()

    async def held(request: Any, body: dict[str, Any]) -> Any:
        await release.wait()
        return await plain(request, body)

    async def scenario() -> None:
        async with stage.gate(held, max_requests_of_key=1) as gate:
            first = asyncio.create_task(gate.chat(stage.token(token_id=1)))
            while not gate.model.seen:
                await asyncio.sleep(0.01)
            assert (await gate.chat(stage.token(token_id=1)))[0] == 429
            second = asyncio.create_task(gate.chat(stage.token(token_id=2)))
            while len(gate.model.seen) < 2:
                await asyncio.sleep(0.01)
            release.set()
            assert [one[0] for one in await asyncio.gather(first, second)] == [200, 200]

    asyncio.run(scenario())


@pytest.mark.parametrize("stream", [False, True])
def test_a_body_beyond_the_memory_budget_is_refused(stage: Stage, stream: bool) -> None:
    async def scenario() -> None:
        token = stage.token()
        async with stage.gate(memory_mib=1) as gate:
            long = [{"role": "user", "content": "x" * 600_000}]  # read and encoded: twice that
            headers = {"Authorization": token, "Content-Type": "application/json"}
            body = json.dumps(CHAT | {"messages": long, "stream": stream}).encode()
            async with gate.http.post(gate.url("/v1/chat/completions"), data=body, headers=headers) as answer:
                assert (answer.status, answer.headers["Retry-After"]) == (503, "1")
            assert (await gate.chat(token, stream=stream))[0] == 200
            assert len(gate.model.seen) == 1

    asyncio.run(scenario())


SERVERS = """\
provider = "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC"
requests_per_minute_of_user = 0
memory_mib = 2
[[upstreams]]
url = "http://127.0.0.1:8000/v1"
weight = 2
[[upstreams]]
url = "http://127.0.0.1:8001/v1"
model = "other"
"""


def test_settings_name_several_servers(tmp_path: Path) -> None:
    file = tmp_path / "gateway.toml"
    file.write_text(SERVERS)
    settings = read_settings(file, {}, {})
    assert settings.servers() == (
        UpstreamSettings("http://127.0.0.1:8000/v1", weight=2),
        UpstreamSettings("http://127.0.0.1:8001/v1", model="other"),
    )
    assert (settings.limits().user_rate, settings.limits().memory) == (None, 2**21)


@pytest.mark.parametrize(
    "more",
    [
        'upstream = "http://127.0.0.1:8000/v1"\n', 'blocked = ["me"]\n', "memory_mib = 0\n",
        "max_requests_of_key = 0\n", "requests_per_minute_of_user = -1\n",
    ],
)  # fmt: skip
def test_settings_that_do_not_configure_a_gateway(tmp_path: Path, more: str) -> None:
    file = tmp_path / "gateway.toml"
    lines = SERVERS.replace("memory_mib = 2\n", "").replace("requests_per_minute_of_user = 0\n", "")
    file.write_text(more + lines)
    with pytest.raises(ConfigurationError, match="does not configure a gateway"):
        read_settings(file, {}, {})


def test_the_flat_settings_are_one_server() -> None:
    settings = Settings(USERS[0], "http://a/v1", upstream_headers={"A": "b"}, upstream_model="m")
    assert settings.servers() == (UpstreamSettings("http://a/v1", {"A": "b"}, model="m"),)
