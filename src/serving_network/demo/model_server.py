# SPDX-License-Identifier: Apache-2.0
"""A stand-in for a model server: answers in the form of the OpenAI API, and says that it is no model."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

from aiohttp import web

MODEL: Final = "stand-in"
TEXT: Final = (
    "This is a stand-in for a model server, not a language model. It answers every request with these words. "
    "Start the network with --upstream URL to use a real model."
)
_EMBEDDING: Final = [0.0, 0.6, 0.8]


@asynccontextmanager
async def model_server(pause: float = 0.0, stall: int | None = None) -> AsyncIterator[str]:
    """Run the stand-in on a free port while the block runs; yields its base URL.

    `pause` is in seconds, for a token. With `stall`, streams stop after this many tokens until the client leaves.
    """
    application = web.Application(client_max_size=64 * 1024 * 1024)

    async def chat(request: web.Request) -> web.StreamResponse:
        return await _answer(request, await request.json(), pause, stall, chat=True)

    async def complete(request: web.Request) -> web.StreamResponse:
        return await _answer(request, await request.json(), pause, stall, chat=False)

    application.router.add_post("/v1/chat/completions", chat)
    application.router.add_post("/v1/completions", complete)
    application.router.add_post("/v1/embeddings", _embed)
    runner = web.AppRunner(application, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    finally:
        await runner.cleanup()


async def _answer(
    request: web.Request, body: dict[str, Any], pause: float, stall: int | None, *, chat: bool
) -> web.StreamResponse:
    tokens = [word + " " for word in TEXT.split()][: body.get("max_tokens", 4096)]
    finish = "stop" if len(tokens) == len(TEXT.split()) else "length"
    asked = json.dumps(body["messages"] if chat else body["prompt"])
    usage = {"prompt_tokens": len(asked.split()), "completion_tokens": len(tokens)}
    usage["total_tokens"] = sum(usage.values())
    if not body.get("stream"):
        await asyncio.sleep(pause * len(tokens))
        text = "".join(tokens)
        part: dict[str, Any] = {"message": {"role": "assistant", "content": text}} if chat else {"text": text}
        choice = {"index": 0, "finish_reason": finish, **part}
        return web.json_response(_object(chat, "", [choice]) | {"usage": usage})
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    with suppress(ConnectionError):  # the client may leave
        for number, event in enumerate(_events(tokens, finish, usage if _wants_usage(body) else None, chat)):
            await (asyncio.sleep(pause) if number != stall else asyncio.Event().wait())
            await response.write(event)
        await response.write_eof()
    return response


def _events(tokens: list[str], finish: str, usage: dict[str, int] | None, chat: bool) -> Iterator[bytes]:
    for token in tokens:
        part: dict[str, Any] = {"delta": {"content": token}} if chat else {"text": token}
        yield _event(_object(chat, ".chunk", [{"index": 0, "finish_reason": None, **part}]))
    end: dict[str, Any] = {"delta": {}} if chat else {"text": ""}
    yield _event(_object(chat, ".chunk", [{"index": 0, "finish_reason": finish, **end}]))
    if usage is not None:
        yield _event(_object(chat, ".chunk", []) | {"usage": usage})
    yield b"data: [DONE]\n\n"


def _object(chat: bool, kind: str, choices: list[dict[str, Any]]) -> dict[str, Any]:
    name = f"chat.completion{kind}" if chat else "text_completion"
    return {"id": "stand-in-1", "object": name, "created": 0, "model": MODEL, "choices": choices}


def _event(content: dict[str, Any]) -> bytes:
    return b"data: %b\n\n" % json.dumps(content).encode()


def _wants_usage(body: dict[str, Any]) -> bool:
    return bool((body.get("stream_options") or {}).get("include_usage"))


async def _embed(request: web.Request) -> web.Response:
    body = await request.json()
    texts = body["input"] if isinstance(body["input"], list) else [body["input"]]
    tokens = sum(len(str(text).split()) for text in texts)
    data = [{"object": "embedding", "index": place, "embedding": _EMBEDDING} for place, _ in enumerate(texts)]
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return web.json_response({"object": "list", "model": MODEL, "data": data, "usage": usage})
