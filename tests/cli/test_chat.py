# SPDX-License-Identifier: Apache-2.0
"""`serving chat` and `serving connect`, as people use them."""

from __future__ import annotations

import asyncio
import json
import signal
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from types import SimpleNamespace

import openai
import pexpect
import pytest

from serving_network.cli import connect as connect_module
from serving_network.cli.parts import quote
from serving_network.clients.bills.fetching import ProviderFailure
from serving_network.clients.buying import provider as buying_provider
from serving_network.clients.buying.endpoint import Endpoint
from serving_network.clients.buying.purchase import Purchase
from serving_network.clients.read.inference import inference_service
from serving_network.clients.read.network import AsyncNetwork
from serving_network.contracts.models import Offer
from serving_network.gateway import attestation
from serving_network.messages.receipts import SignedReceipt
from tests import zygote
from tests.cli.conftest import PASSWORD, Terminal
from tests.clients.network_fixture import World
from tests.clients.test_attestation import QUOTES, genuine
from tests.gateway.background import gateway, in_background
from tests.gateway.stage import Gate, Stage, events, streaming
from tests.gateway.streams import chunk, event
from tests.tee_reports import report


@pytest.fixture
def stage(served: tuple[World, str], world: World, tmp_path: Path) -> Stage:
    world.with_account()
    return Stage(world, served[1], tmp_path / "provider.journal")


@pytest.fixture
def gate(stage: Stage) -> Iterator[Gate]:
    with gateway(stage, streaming(events(3))) as gate:
        yield gate


def test_one_question(serving: Terminal, stage: Stage, gate: Gate) -> None:
    provider = stage.world.provider.address
    found = serving("chat", provider, "Hi", "--max-tokens", "300")
    assert found.out == "word word word \n"
    assert "Cost 1800 wei for 15 tokens; receipt 1, signature checked." in found.err
    assert gate.model.seen[-1]["max_tokens"] == 300
    answer = serving("chat", provider, "--json", stdin="What is this?\n").json
    assert (answer["answer"], answer["cost"]["wei"]) == ("word word word ", "1800")
    assert gate.model.seen[-1]["messages"] == [{"role": "user", "content": "What is this?\n"}]
    assert serving("bill", "show", "--json").json["total"]["wei"] == "3600"
    other = serving("chat", provider, "Hi", "--model", "other", code=5).err
    assert "Its model is model-1" in other
    assert f"serving service show {provider}" in other


def test_what_the_model_writes_cannot_move_the_cursor(serving: Terminal, stage: Stage, gate: Gate) -> None:
    gate.model.handle = streaming([event(chunk("one\n\x1b[2Jtwo")), *events(1)[1:]])
    assert serving("chat", stage.world.provider.address, "Hi").out == "one\n\\x1b[2Jtwo\n"


def test_a_provider_that_does_not_answer(serving: Terminal, stage: Stage) -> None:
    stage.world.provider.update(stage.world.offer(url="http://127.0.0.1:9"))
    assert "does not answer" in serving("chat", stage.world.provider.address, "Hi", code=5).err


@pytest.mark.usefixtures("gate")
def test_an_answer_that_the_balance_limits(serving: Terminal, stage: Stage) -> None:
    stage.world.user.retrieve([stage.world.provider.address])
    stage.world.user.fund(stage.world.provider.address, 100_000)
    assert "Your balance covers an answer of" in serving("chat", stage.world.provider.address, "Hi").err


def test_a_conversation(serving: Terminal, stage: Stage, gate: Gate) -> None:
    words = ["chat", stage.world.provider.address]
    terminal = zygote.Terminal(
        words, environment=serving.variables() | {"TERM": "xterm"}, directory=serving.home, columns=100
    )
    terminal.expect("> ")
    for question in ("One", "Two"):
        terminal.sendline(question)
        terminal.expect("word word word")
        terminal.expect("receipt")
        terminal.expect("> ")
    terminal.sendeof()
    terminal.expect("\r\n2 answers, ")  # below the prompt, not beside it
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert terminal.exitstatus == 0
    assert [one["role"] for one in gate.model.seen[-1]["messages"]] == ["user", "assistant", "user"]


@pytest.mark.parametrize("question", [["Hi"], []], ids=["one question", "a conversation"])
def test_an_answer_that_ctrl_c_cuts_shows_what_it_costs(
    serving: Terminal, stage: Stage, gate: Gate, question: list[str]
) -> None:
    gate.model.handle = streaming(events(1000), pause=0.02)
    words = ["chat", stage.world.provider.address, *question]
    own = serving.variables() | {"TERM": "xterm"}
    with closing(zygote.Terminal(words, environment=own, directory=serving.home, columns=100)) as terminal:
        if not question:
            terminal.expect("> ")
            terminal.sendline("Hi")
        terminal.expect("word word")
        terminal.sendintr()
        terminal.expect(r"\r\n.*Cost (\d+ .*) for \d+ tokens; receipt 1, of the answer that was cut\.")
        cost = terminal.match[1]
        if not question:
            terminal.expect(f"1 answer, {cost} in all")
        terminal.expect("Interrupted")
        terminal.expect(pexpect.EOF)
    assert terminal.exitstatus == 130
    assert serving("bill", "show", "--json").json["total"]["wei"] == cost.removesuffix(" wei")


def test_a_cut_answer_whose_receipt_does_not_come_names_the_command_that_fetches_it(
    serving: Terminal, stage: Stage, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def cut(_: Purchase) -> SignedReceipt:
        if not gate.model.seen[1:]:
            gate.model.seen.append({})
            signal.raise_signal(signal.SIGINT)
            await asyncio.sleep(600)
        raise ProviderFailure("gone")

    monkeypatch.setattr(Purchase, "prove", cut)
    provider = stage.world.provider.address
    said = " ".join(serving("chat", provider, "Hi", code=130).err.split())
    assert f"To see the cost: serving bill fetch {provider}, then serving bill show {provider}" in said
    assert "Interrupted" in said


def test_what_was_spent_is_rounded_up_wherever_it_is_shown(serving: Terminal, stage: Stage) -> None:
    world, provider = stage.world, stage.world.provider.address
    prices = {"input_price": 0, "output_price": 400_000_000_001}
    world.provider.update(world.offer(**prices))
    with in_background(stage.gate(streaming(events(3)))) as gate:
        world.provider.update(world.offer(url=gate.running.url, **prices))
        assert "Cost 0.000002 coins" in serving("chat", provider, "Hi").err
        assert serving("bill", "show").out.endswith("\t0.000002 coins\n")
        assert "Total 0.000002 coins" in serving("bill", "show").err
        verified = serving("bill", "verify", provider).out
        assert "1 over 0.000002 coins" in verified
        assert "0.000002 coins of 1 receipt" in verified
        asyncio.run(stage.settle())
        assert "0.000002 coins covered by receipts" in serving("bill", "verify", provider).out


@pytest.mark.usefixtures("gate")
def test_connect_reads_the_offer_once(serving: Terminal, stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    stops: list[Callable[[], object]] = []

    async def counted(network: AsyncNetwork, provider: str, service: str) -> tuple[Offer, bool]:
        read.append(provider)
        return await inference_service(network, provider, service)

    @asynccontextmanager
    async def serving_one(self: Endpoint, *_: object) -> AsyncIterator[str]:
        await self._buyer.offer()
        stops[0]()
        yield "http://127.0.0.1:1/v1"

    monkeypatch.setattr(buying_provider, "inference_service", counted)
    monkeypatch.setattr(connect_module, "on_stop", stops.append)
    monkeypatch.setattr(Endpoint, "serving", serving_one)
    serving("connect", stage.world.provider.address)
    assert read == [stage.world.provider.address]


@pytest.mark.usefixtures("gate")
def test_an_openai_client_connects(serving: Terminal, stage: Stage) -> None:
    words = ["connect", stage.world.provider.address, "--port", "0", "--limit", "1", "--json"]
    own = serving.variables() | {"SERVING_PASSWORD": PASSWORD}
    with closing(zygote.Piped(words, environment=own)) as process:
        shown = json.loads(process.stdout.readline())
        with openai.OpenAI(base_url=shown["base_url"], api_key=shown["api_key"], max_retries=0) as client:
            asked = {"model": shown["model"], "messages": [{"role": "user", "content": "Hi"}]}
            stream = client.chat.completions.create(**asked, stream=True)
            assert "".join(chunk.choices[0].delta.content or "" for chunk in stream) == "word word word "
        assert json.loads(process.stdout.readline())["receipt"] == 1
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=600)
        assert process.returncode == 0


@pytest.mark.usefixtures("gate")
def test_a_mock_quote_fails_and_can_be_trusted_all_the_same(serving: Terminal, stage: Stage) -> None:
    world, provider = stage.world, stage.world.provider.address
    found = serving("service", "verify", provider, code=20)
    assert "FAILS  quote         a mock, signed by no processor" in found.out
    assert f"ok     report data   binds {world.tee_signer.address}" in found.out
    (archive,) = (serving.home / "quotes").iterdir()
    assert json.loads(archive.read_text())["report"]["mock"] is True
    verdict = serving("signer", "review", provider, "--json", code=20).json
    assert (verdict["genuine"], verdict["signer"]) == (False, world.tee_signer.address)

    registered = world.provider.offer(provider)
    assert registered is not None
    offer = world.fine_tuning_offer(url=registered.offer.url)
    world.provider.register(offer, service="fine-tuning")
    reviewed = serving("signer", "review", provider, "--service", "fine-tuning", "--json", code=20).json
    assert reviewed["signer"] == world.tee_signer.address
    assert "no inference server" in serving("service", "verify", provider, "--trust", "-s", "fine-tuning", code=2).err

    refused = serving("connect", provider, "--port", "0", "--require-quote", code=9).err
    assert "quote: a mock, signed by no processor" in refused

    serving("chat", provider, "Hi")
    path = next((serving.home / "bills").iterdir())
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE meta SET value = ? WHERE key = 'signer'", (provider,))
    assert f"serving service verify {provider} --trust" in serving("chat", provider, "Hi", code=3).err
    serving("service", "verify", provider, "--trust", code=20)
    serving("chat", provider, "Hi")


def test_a_genuine_quote_that_is_not_of_the_signer(
    serving: Terminal, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A provider publishes the quote of somebody else's machine, with everything else right."""
    pytest.importorskip("dcap_qvl")
    _, collateral, then = genuine("tdx_quote", 4)
    sample = (QUOTES / "tdx_quote").read_bytes()
    monkeypatch.setattr(attestation, "mock_report", lambda _: json.dumps(report(quote=sample.hex())).encode())
    (serving.home / "collateral.json").write_text(collateral)
    words = ["service", "verify", stage.world.provider.address]
    words += ["--collateral", str(serving.home / "collateral.json")]
    with gateway(stage):
        assert "expired" in serving(*words, code=22).out.lower()
        monkeypatch.setattr(quote, "time", SimpleNamespace(time=lambda: then))
        found = serving(*words, code=25).out
        verdict = serving(*words, "--json", code=25).json
    assert "ok     quote         UpToDate\n" in found
    assert "ok     advisories    none\n" in found
    assert "FAILS  report data   binds no signer\n" in found
    assert f"RTMR1     0x{sample[48 + 376 : 48 + 424].hex()}\n" in found
    assert (verdict["fault"], verdict["status"], verdict["advisories"]) == ("other-signer", "UpToDate", [])
    archived = json.loads(Path(verdict["archive"]).read_text())
    assert bytes.fromhex(archived["report"]["quote"]) == sample
    assert (archived["mrtd"], archived["collateral"] is None) == (f"0x{sample[184:232].hex()}", False)


def test_a_user_without_an_account_is_served_for_free_or_told_to_fund_one(serving: Terminal, stage: Stage) -> None:
    provider, user = stage.world.provider.address, stage.world.stranger.address
    serving.environment["SERVING_KEY"] = "stranger"
    with gateway(stage, free=[user]) as gate:
        gate.model.handle = streaming(events(3))
        assert "Cost 0 coins for 15 tokens" in serving("chat", provider, "Hi").err
        assert "Fetched 0 new receipts, 1 in all." in serving("bill", "fetch", provider).out
        made = serving("token", "make", provider, "--free")
        assert (made.out.startswith("app-sk-"), "it cannot be revoked" in made.err) == (True, True)
        assert "needs an account" in serving("token", "make", provider, "--free", "--days", "1", code=2).err
    with gateway(stage):
        for words in (("chat", provider, "Hi"), ("bill", "fetch", provider), ("token", "make", provider)):
            assert f"serving ledger fund {provider} AMOUNT" in serving(*words, code=7).err


def test_connect_checks_the_provider_before_it_asks_for_the_password(serving: Terminal, stage: Stage) -> None:
    stage.world.owner.revoke(stage.world.provider.address)
    refused = serving("connect", stage.world.provider.address, "--port", "0", code=3, SERVING_PASSWORD="wrong password")
    assert "not confirmed" in refused.err
