# SPDX-License-Identifier: Apache-2.0
"""`serving up` as people start and stop it."""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from serving_network.cli.console.home import Home
from serving_network.cli.console.node import Node
from serving_network.cli.parts import local_network
from serving_network.errors import ConfigurationError
from serving_network.networks import BUILT_IN
from tests import zygote

FRONTS = {
    "ledger": "0x9fE46736679d2D9a65F0992F2272dE9f3c7fa6e0",
    "inference-v1.0": "0x0165878A594ca255338adfa4d48449f69242Eb8F",
    "fine-tuning-v1.1": "0xA51c1fc2f0D1a1b8494Ed1FE312d7C3a78Ed91C0",
}
STEPS_OF_A_DEPLOYMENT = 16
KILLS = 3
HANGS_AFTER = 600  # seconds; high enough for a busy machine


@contextlib.contextmanager
def started(*options: str) -> Iterator[zygote.Piped]:
    """The program. It is killed at the end if it is still running."""
    process = zygote.Piped(["up", *options])
    try:
        yield process
    finally:
        process.close()


@contextlib.contextmanager
def network(*options: str) -> Iterator[tuple[zygote.Piped, dict[str, Any]]]:
    """A running network and its output. It is killed at the end if it is still running."""
    with started("--port", "0", "--json", *options) as process:
        line = process.stdout.readline()
        assert line, process.communicate(HANGS_AFTER)[1]
        yield process, json.loads(line)


def ask(info: dict[str, Any], method: str, *params: Any) -> Any:
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()
    request = urllib.request.Request(info["url"], body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=HANGS_AFTER) as answer:
        return json.loads(answer.read())["result"]


def stop(process: zygote.Piped, number: signal.Signals) -> tuple[str, str]:
    process.send_signal(number)
    out, err = process.communicate(timeout=HANGS_AFTER)
    assert process.returncode == 0
    return out, err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_network_has_the_default_addresses_and_stops_cleanly(number: signal.Signals) -> None:
    with network() as (process, info):
        assert info["chain_id"] == 31337
        assert info["contracts"] == FRONTS
        for address in FRONTS.values():
            assert len(ask(info, "eth_getCode", address, "latest")) > 2
        assert [account["address"] for account in info["accounts"]] == ask(info, "eth_accounts")
        assert ask(info, "eth_getBalance", info["accounts"][9]["address"], "latest") == hex(10**24)
        assert ask(info, "eth_getTransactionCount", info["accounts"][0]["address"], "latest") == hex(
            STEPS_OF_A_DEPLOYMENT
        )
        out, err = stop(process, number)
        assert (out, err) == ("", "")


def test_the_output_lists_the_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "anvil").touch(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    with started("--port", "0") as process:
        seen: list[str] = []
        while not seen or "Ctrl-C" not in seen[-1]:
            line = process.stdout.readline()
            assert line, process.communicate(HANGS_AFTER)[1]
            seen.append(line)
        rest, err = stop(process, signal.SIGINT)
    text = "".join(seen)
    url = re.search(r"JSON-RPC +(http://127\.0\.0\.1:\d+)", text)
    assert url
    assert f"  serving network add local --url {url[1]}\n" in text
    for name, address in FRONTS.items():
        assert f"{address}  {name}" in text
    assert "These keys are public." in text
    assert max(map(len, seen)) <= 80
    assert (rest, err) == ("Stopped.\n", f"{local_network.ANVIL_HINT}\n")


def test_an_empty_chain_has_no_contracts_and_says_how_to_deploy_them() -> None:
    with started("--port", "0", "--empty") as process:
        text = ""
        while "Ctrl-C" not in text:
            line = process.stdout.readline()
            assert line, process.communicate(HANGS_AFTER)[1]
            text += line
        stop(process, signal.SIGINT)
    url = re.search(r"JSON-RPC +(http://127\.0\.0\.1:\d+)", text)
    assert url
    assert f"  serving network add mine --url {url[1]} --chain-id 31337\n" in text
    assert not [address for address in FRONTS.values() if address in text]


@pytest.mark.parametrize(("url", "told"), [("http://127.0.0.1:8545", False), ("http://127.0.0.1:8546", True)])
def test_only_a_url_that_commands_do_not_use_by_default_needs_to_be_added(url: str, told: bool) -> None:
    assert bool(local_network.how_to_use(url)) is told


def test_a_taken_port() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with started("--port", str(port)) as process:
            out, err = process.communicate(timeout=HANGS_AFTER)
    assert process.returncode == 3
    assert out == ""
    assert f"Port {port} on 127.0.0.1 is taken" in " ".join(err.split())
    assert f"serving up --port {port + 1}" in " ".join(err.split())
    assert "Traceback" not in err


def test_a_network_in_a_directory_continues_where_it_was_killed(tmp_path: Path) -> None:
    target = "0x" + "77" * 20
    with network("--state", str(tmp_path)) as (process, info):
        sender = info["accounts"][1]["address"]
        ask(info, "eth_sendTransaction", {"from": sender, "to": target, "value": "0x5"})
        ask(info, "evm_increaseTime", 86_400)
        head = ask(info, "eth_getBlockByNumber", "latest", False)
        process.kill()
    with network("--state", str(tmp_path)) as (process, info):
        assert info["contracts"] == FRONTS
        assert ask(info, "eth_getBlockByNumber", "latest", False) == head
        assert ask(info, "eth_getBalance", target, "latest") == "0x5"
        ask(info, "evm_mine")
        assert int(ask(info, "eth_getBlockByNumber", "latest", False)["timestamp"], 16) > time.time() + 86_000
        stop(process, signal.SIGTERM)
    with network("--state", str(tmp_path)) as (_, info):
        nonce = ask(info, "eth_getTransactionCount", info["accounts"][0]["address"], "latest")
        assert nonce == hex(STEPS_OF_A_DEPLOYMENT)


def test_a_deployment_that_was_killed_is_finished_on_the_next_start(tmp_path: Path) -> None:
    seed = random.Random(9)
    for _ in range(KILLS):
        with started("--port", "0", "--state", str(tmp_path)) as process:
            while not (tmp_path / "network.json").exists() and process.poll() is None:
                time.sleep(0.01)
            time.sleep(seed.uniform(0, 0.3))
    with network("--state", str(tmp_path)) as (_, info):
        assert info["contracts"] == FRONTS
        nonce = ask(info, "eth_getTransactionCount", info["accounts"][0]["address"], "latest")
        assert nonce == hex(STEPS_OF_A_DEPLOYMENT)


def test_a_directory_serves_one_network_at_a_time(tmp_path: Path) -> None:
    with network("--state", str(tmp_path)), started("--port", "0", "--state", str(tmp_path)) as second:
        _, err = second.communicate(timeout=HANGS_AFTER)
        assert second.returncode == 3
        assert "in use by another process" in " ".join(err.split())


def test_an_interrupt_at_any_moment_ends_without_a_traceback() -> None:
    seed = random.Random(7)
    for _ in range(KILLS):
        # The moments include the start of Python itself.
        command = [sys.executable, "-c", "from serving_network.cli.main import app; app()", "up", "--port", "0"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            try:
                time.sleep(seed.uniform(1.0, 3.0))
                process.send_signal(signal.SIGINT)
                _, err = process.communicate(timeout=HANGS_AFTER)
            finally:
                process.kill()
        assert process.returncode in (0, 130, -signal.SIGINT)
        if process.returncode >= 0:
            assert "Traceback" not in err


def test_blocks_at_an_interval() -> None:
    with network("--block-time", "0.2") as (process, info):
        first = int(ask(info, "eth_blockNumber"), 16)
        while int(ask(info, "eth_blockNumber"), 16) <= first:
            time.sleep(0.05)
        stop(process, signal.SIGINT)


def test_a_node_that_is_not_installed(tmp_path: Path) -> None:
    environment = os.environ | {"PATH": str(tmp_path)}
    with contextlib.closing(zygote.Piped(["up", "--node", "anvil"], environment=environment)) as process:
        _, err = process.communicate(HANGS_AFTER)
    assert process.returncode == 3
    assert "anvil is not installed" in err


@pytest.mark.skipif(shutil.which("anvil") is None, reason="anvil is not installed")
def test_on_another_node_the_network_is_the_same(tmp_path: Path) -> None:
    with network("--node", "anvil", "--state", str(tmp_path)) as (process, info):
        assert info["contracts"] == FRONTS
        assert "anvil" in ask(info, "web3_clientVersion")
        stop(process, signal.SIGINT)
    with network("--node", "anvil", "--state", str(tmp_path)) as (process, info):
        nonce = ask(info, "eth_getTransactionCount", info["accounts"][0]["address"], "latest")
        assert nonce == hex(STEPS_OF_A_DEPLOYMENT)
        stop(process, signal.SIGTERM)


def test_a_gateway_sells_and_is_paid() -> None:
    with network("--gateway", "--gateway-port", "0") as (process, told):
        gateway = told["gateway"]
        body = json.dumps({"model": gateway["model"], "messages": [{"role": "user", "content": "Hi"}]}).encode()
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {gateway['api_key']}"}
        request = urllib.request.Request(f"{gateway['url']}/v1/chat/completions", body, headers)
        with urllib.request.urlopen(request, timeout=HANGS_AFTER) as answer:
            content = json.load(answer)
        assert "stand-in for a model server, not a language model" in content["choices"][0]["message"]["content"]
        assert gateway["stands_in"] is True
        keys = [account["private_key"] for account in told["accounts"]]
        with tempfile.TemporaryDirectory() as home:
            configured = {"SERVING_HOME": home, "SERVING_PRIVATE_KEY": keys[1], "SERVING_TEE_KEY": keys[9]}
            environment = {name: value for name, value in os.environ.items() if not name.startswith("SERVING_")}
            Home(Path(home)).save_network(replace(BUILT_IN["local"], name="test", urls=(told["url"],)))
            words = ["settle", "--json", "--network", "test", "--journal", gateway["store"]]
            with contextlib.closing(zygote.Piped(words, environment=environment | configured)) as settle:
                settled, err = settle.communicate(HANGS_AFTER)
            assert settle.returncode == 0, err
        usage = content["usage"]
        fee = usage["prompt_tokens"] * 10**12 + usage["completion_tokens"] * 4 * 10**12
        assert json.loads(settled)["total"]["paid"] == str(fee)
        stop(process, signal.SIGTERM)


def test_the_output_of_a_gateway_shows_how_to_use_it() -> None:
    with started("--port", "0", "--gateway", "--gateway-port", "0") as process:
        seen: list[str] = []
        while not seen or "Ctrl-C" not in seen[-1]:
            line = process.stdout.readline()
            assert line, process.communicate(HANGS_AFTER)[1]
            seen.append(line)
        stop(process, signal.SIGINT)
    text = "".join(seen)
    start = text.index("from openai import OpenAI")
    compile(text[start : text.index("To be paid")], "example", "exec")
    assert "answered by a stand-in, not by a model" in text


def test_a_directory_belongs_to_one_node(tmp_path: Path) -> None:
    assert local_network._remember(tmp_path / "new", Node.EMBEDDED) is True
    assert local_network._remember(tmp_path / "new", Node.EMBEDDED) is False
    with pytest.raises(ConfigurationError, match="of another node: embedded") as refused:
        local_network._remember(tmp_path / "new", Node.ANVIL)
    assert refused.value.next_step is not None
    assert "--node embedded" in refused.value.next_step
    assert local_network._remember(tmp_path / "new", Node.EMBEDDED) is False
    (tmp_path / "anvil.json").touch()  # of a version that wrote no note
    with pytest.raises(ConfigurationError, match="of another node: anvil"):
        local_network._remember(tmp_path, Node.EMBEDDED)
