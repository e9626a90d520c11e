# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import asyncio
import inspect
from dataclasses import replace
from pathlib import Path

import pexpect
import pytest

from serving_network.cli.parts import gateway_setup
from serving_network.gateway.readiness import GatewayNotReady
from serving_network.gateway.routes import ROUTES_OF
from serving_network.gateway.settings import read_settings
from serving_network.testing import LocalNetwork
from serving_network.wallet.keys import KeyStore
from tests import zygote
from tests.gateway.programs import PASSWORD, environment, serving, write_home
from tests.gateway.stage import Stage, model_server

NEW, PROVIDER = 6, 1


@pytest.fixture
def home(tmp_path: Path) -> Path:
    home = tmp_path / "home"
    home.mkdir()
    for name, number in (("new", NEW), ("provider", PROVIDER)):
        KeyStore(home / "keys", scrypt_work=2).add(name, LocalNetwork.signer(number), PASSWORD)
    return home


def test_the_help_names_every_type_of_service_that_is_served() -> None:
    option = inspect.signature(gateway_setup.init, eval_str=True).parameters["service_type"].annotation.__metadata__[0]
    assert [name for name in ROUTES_OF if name not in option.help] == []


def test_a_service_is_registered(stage: Stage, home: Path) -> None:
    file = home / "new.toml"

    async def scenario() -> None:
        async with model_server() as model:
            write_home(stage, home, model.url)
            words = ["gateway", "init", "--key", "new", "--settings", str(file), "--upstream", model.url, "--yes"]
            code, failure = await serving(home, *words)
            assert (code, failure["next_step"]) == (2, "Pass --url.")
            words += ["--url", "https://new.example", "--model", "m", "--input-price", "1 gwei"]
            words += ["--output-price", "2 gwei", "--settle-key", "new", "--port", "3081"]
            code, done = await serving(home, *words)
            assert (code, done["settings"], len(done["transactions"])) == (0, str(file), 1)
            assert (await serving(home, *words))[0] == 3

    asyncio.run(scenario())
    provider = LocalNetwork.signer(NEW).address
    registered = stage.world.provider.offer(provider)
    assert registered is not None
    settings = read_settings(file, {}, {})
    assert (settings.provider, settings.port, settings.settle_key) == (provider, 3081, "new")
    assert settings.service["output_price"] == registered.offer.output_price == 2 * 10**9  # type: ignore[union-attr]


def test_a_terminal_is_asked_for_what_is_missing(stage: Stage, home: Path) -> None:
    file = home / "new.toml"
    words = ["gateway", "init", "--network", "test", "--key", "new", "--settings", str(file)]

    def talk(upstream: str) -> None:
        own = environment(home) | {"SERVING_PASSWORD": PASSWORD}
        child = zygote.Terminal(words, environment=own, directory=home, columns=200)
        for question, answer in (
            ("Model server, with its /v1 \\[http://127.0.0.1:8000/v1\\]: ", upstream),
            ("Public URL of the gateway: ", "new.example"),
            (
                "Write it with its scheme:\\s+https://gateway.example\\s+Public URL of the gateway: ",
                "https://new.example",
            ),
            ("Name of the model: ", ""),
            ("Name of the model: ", "m"),
            ("Price of an input token \\[100 gwei\\]: ", "cheap"),
            ("'cheap' is not an amount(.|\\n)*Price of an input token \\[100 gwei\\]: ", ""),
            ("Price of an output token \\[100 gwei\\]: ", "3 gwei"),
            ("stake(.|\\n)*\\[Y/n\\]: ", "y"),
        ):
            child.expect(question)
            child.sendline(answer)
        child.expect("Next: serving gateway run")
        child.expect(pexpect.EOF)
        child.close()
        assert child.exitstatus == 0

    async def scenario() -> None:
        async with model_server() as model:
            write_home(stage, home, model.url)
            await asyncio.to_thread(talk, model.url)

    asyncio.run(scenario())
    service = read_settings(file, {}, {}).service
    assert (service["input_price"], service["output_price"]) == (100 * 10**9, 3 * 10**9)
    assert stage.world.provider.offer(LocalNetwork.signer(NEW).address) is not None


def test_a_registered_service_is_left_as_it_is_or_updated(stage: Stage, home: Path) -> None:
    async def scenario() -> None:
        async with model_server() as model:
            write_home(stage, home, model.url)
            words = ["gateway", "init", "--key", "provider", "--upstream", model.url, "--yes"]
            code, done = await serving(home, *words, "--settings", str(home / "a.toml"))
            assert (code, "transactions" in done) == (0, False)
            changes = ["--input-price", "7 wei", "--settings", str(home / "b.toml")]
            code, done = await serving(home, *words, *changes)
            assert (code, len(done["transactions"])) == (0, 1)
        async with stage.gate(service=read_settings(home / "b.toml", {}, {}).service):
            pass
        with pytest.raises(GatewayNotReady, match="input_price"):
            async with stage.gate(service=read_settings(home / "a.toml", {}, {}).service):
                pass

    asyncio.run(scenario())


def test_removal_waits_for_settling(stage: Stage, home: Path) -> None:
    contract = stage.world.provider.service().address
    name = f"31337-{contract}-{stage.world.provider.address}.journal"
    stage = replace(stage, store=home / "settlements" / name)
    write_home(stage, home, "http://127.0.0.1:1/v1")
    words = ["service", "remove", "--key", "provider", "--yes"]

    async def scenario() -> None:
        async with stage.gate() as gate:
            assert (await gate.chat(stage.token()))[0] == 200
        code, failure = await serving(home, *words)
        assert code == 2
        assert "unsettled" in failure["message"]
        await stage.settle()
        assert (await serving(home, *words))[0] == 0

    asyncio.run(scenario())
    assert stage.world.provider.offer(stage.world.provider.address) is None
