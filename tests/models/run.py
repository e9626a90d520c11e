# SPDX-License-Identifier: Apache-2.0
"""A real model server behind the gateway: `make test-models`, which installs torch in an environment of its own.

`transformers serve` serves a small Llama with random weights, made on the spot. The gateway meters it by
the usage that it reports, and by its tokenizer.

It is not part of `make test`, because the environment takes 1.2 GB.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Final, NamedTuple
from unittest.mock import patch

import aiohttp

from serving_network.counting import count
from serving_network.gateway import reading_on
from serving_network.messages.receipts import Ending, Receipt, Source
from serving_network.tokenizing.tokenizer import load_tokenizer
from tests.clients.network_fixture import deployed_world
from tests.gateway.stage import Gate, Stage

START_SECONDS: Final = 300
MESSAGES: Final = [{"role": "system", "content": "be brief"}, {"role": "user", "content": "the quick fox"}]
OFFLINE: Final = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "OMP_NUM_THREADS": "1"}


class Seen(NamedTuple):
    """An answer as the client saw it, and its receipt. `events` are those with text."""

    usage: dict[str, Any] | None
    events: int
    receipt: Receipt


def main() -> int:
    """Make the model, serve it, sell it, and print what was seen."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("environment", type=Path, help="The environment with transformers and torch.")
    binaries = parser.parse_args().environment / "bin"
    with tempfile.TemporaryDirectory() as directory:
        folder = Path(directory) / "llama"
        make = [binaries / "python", Path(__file__).with_name("make_llama.py"), folder]
        subprocess.run(make, check=True, env=os.environ | OFFLINE, capture_output=True)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        serve = [binaries / "transformers", "serve", "--host", "127.0.0.1", "--port", str(port), "--device", "cpu"]
        with subprocess.Popen([*serve, folder], env=os.environ | OFFLINE, stderr=subprocess.DEVNULL) as server:
            try:
                with deployed_world() as world, world.network.served() as url:
                    world.with_account()
                    stage = Stage(world, url, Path(directory) / "journal")
                    for line in asyncio.run(sell(stage, f"http://127.0.0.1:{port}/v1", folder)):
                        sys.stdout.write(line + "\n")
            finally:
                server.terminate()
    return 0


async def sell(stage: Stage, upstream: str, folder: Path) -> list[str]:
    """What was seen, in sentences. Raises AssertionError if something was billed wrongly."""
    await until_it_answers(upstream)
    tokenizer = folder / "tokenizer.json"
    prompt = load_tokenizer(tokenizer).count_chat(MESSAGES)
    lines = [f"The tokenizer counts {prompt} tokens of input."]
    settings: dict[str, Any] = {"upstream": upstream, "upstream_model": str(folder)}
    async with stage.gate(**settings) as gate:
        whole = await chat(gate, stage, max_tokens=16)
        assert whole.usage is not None
        assert whole.usage["prompt_tokens"] == prompt
        check(whole, prompt, whole.usage["completion_tokens"], Ending.COMPLETE, Source.USAGE)
        lines.append(f"Not streamed: {said(whole)}")
        streamed = await chat(gate, stage, max_tokens=16, stream=True)
        assert streamed.usage is not None
        check(streamed, prompt, streamed.usage["completion_tokens"], Ending.COMPLETE, Source.USAGE)
        assert (streamed.receipt.input_tokens, streamed.receipt.output_tokens) == (prompt, 16)
        lines.append(f"Streamed: {said(streamed)}")
        cut = await chat(gate, stage, max_tokens=1000, stream=True, leave_after=5)
        check(cut, 0, cut.receipt.output_tokens, Ending.CUT_BY_CLIENT, Source.DELTAS)
        assert cut.events <= cut.receipt.output_tokens < 1000
        lines.append(f"Cut: {said(cut)}")
    # A busy machine takes longer than a gateway waits for it.
    with patch.object(reading_on, "READ_ON_SECONDS", START_SECONDS):
        lines.append(f"Cut, and read on: {said(await left_and_read_on(stage, settings, prompt))}")
    async with stage.gate(**settings, tokenizer=str(tokenizer)) as gate:
        counted = await chat(gate, stage, max_tokens=1000, stream=True, leave_after=5)
        check(counted, prompt, counted.receipt.output_tokens, Ending.CUT_BY_CLIENT, Source.TOKENIZER)
        assert 0 < counted.receipt.output_tokens < 1000
        lines.append(f"Cut, with a tokenizer: {said(counted)}")
    return lines


async def left_and_read_on(stage: Stage, settings: dict[str, Any], prompt: int) -> Seen:
    async with stage.gate(**settings, read_on_after_cancel=True) as gate:
        seen = await chat(gate, stage, max_tokens=64, stream=True, leave_after=2)
        check(seen, prompt, seen.receipt.output_tokens, Ending.CUT_BY_CLIENT, Source.DELTAS)
        return seen


async def until_it_answers(upstream: str) -> None:
    async with asyncio.timeout(START_SECONDS), aiohttp.ClientSession() as http:
        while True:
            try:
                async with http.get(f"{upstream}/models") as answer:
                    if answer.status == 200:
                        return
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.5)


async def chat(gate: Gate, stage: Stage, *, leave_after: int | None = None, **wanted: Any) -> Seen:
    """Send a chat, leave its stream after some events with text, and wait for the receipt."""
    token = stage.token()
    before = len(await gate.receipts(token))
    body = {"model": "model-1", "messages": MESSAGES} | wanted
    usage, text = None, b""
    headers = {"Authorization": token}
    async with gate.http.post(gate.url("/v1/chat/completions"), json=body, headers=headers) as answer:
        assert answer.status == 200, await answer.text()
        while part := await answer.content.readany():
            text += part
            if leave_after is not None and text.count(b'"content":"') >= leave_after:
                answer.close()
                break
    async with asyncio.timeout(START_SECONDS):
        while len(await gate.receipts(token)) == before:
            await asyncio.sleep(0.1)
    if not wanted.get("stream"):
        usage = json.loads(text)["usage"]
    elif leave_after is None:
        finish = next(line for line in text.splitlines() if b'"finish_reason":"' in line)
        usage = json.loads(finish.removeprefix(b"data: "))["usage"]
    (receipt,) = (one.receipt for one in (await gate.receipts(token))[before:])
    return Seen(usage, text.count(b'"content":"'), receipt)


def check(seen: Seen, of_input: int, output: int, ending: Ending, source: Source) -> None:
    found = seen.receipt
    assert (found.input_tokens, found.output_tokens) == (of_input, output), found
    assert (found.ending, found.source) == (ending, source), found


def said(seen: Seen) -> str:
    where = "" if seen.usage is None else f"usage {seen.usage['prompt_tokens']} + {seen.usage['completion_tokens']}, "
    one = seen.receipt
    billed = f"billed {one.input_tokens} + {one.output_tokens} tokens, source {one.source.name.lower()}"
    events = f"{count(seen.events, 'event')} with text, "
    return f"{where}{events}{billed}, {one.ending.name.lower().replace('_', ' ')}."


if __name__ == "__main__":
    sys.exit(main())
