# SPDX-License-Identifier: Apache-2.0
"""The operators' verbs from the command line: what goes wrong and with which exit code, and JSON for programs."""

import json
import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any

import pytest

from serving_network.deployment.record_file import RecordFile
from tests import zygote

from .guide import GUIDE, Guide

SPEC = GUIDE.read_text().split("```toml\n", 1)[1].split("```", 1)[0]


def new_guide(folder: Path) -> Guide:
    """A terminal in a directory with the file of a network of which nothing is deployed yet."""
    one = Guide(folder)
    (folder / "networks" / "mine.toml").write_text(SPEC)
    return one


@pytest.fixture
def guide(tmp_path: Path) -> Iterator[Guide]:
    one = new_guide(tmp_path)
    with one.playing():
        yield one


@pytest.fixture(scope="module")
def deployed_once(tmp_path_factory: pytest.TempPathFactory) -> Guide:
    """A network that is only copied."""
    one = new_guide(tmp_path_factory.mktemp("guide"))
    with one.playing():
        one.type("serving deploy apply --key deployer --yes")
    assert one.exit_code == 0
    return one


@pytest.fixture
def deployed(deployed_once: Guide, tmp_path: Path) -> Iterator[Guide]:
    one = deployed_once.copy(tmp_path)
    with one.playing():
        yield one


def fails(guide: Guide, command: str, exit_code: int, says: str) -> None:
    """The command fails with this exit code, says why, and what to do next."""
    told = guide.type(command)
    assert (guide.exit_code, says in told, "Next" in told) == (exit_code, True, True), told


def answer(guide: Guide, command: str) -> Any:
    """The one JSON document that the command prints."""
    return json.loads(guide.type(f"{command} --json"))


def test_without_files_it_says_what_to_write(guide: Guide) -> None:
    fails(guide, "serving deploy plan --key deployer --files elsewhere", 3, "There is no elsewhere/mine.toml")
    fails(guide, "serving deploy check", 3, "There is no record")
    fails(guide, "serving upgrade apply ledger --key deployer --yes", 3, "There is no record")


def test_the_example_of_a_networks_file_is_that_of_the_guide_and_can_be_planned(guide: Guide) -> None:
    refused = guide.type("serving deploy plan --key deployer --files elsewhere")
    assert "serving deploy plan --example > elsewhere/mine.toml" in refused
    example = guide.type("serving deploy plan --example --files elsewhere")
    assert f"# networks/mine.toml\n{example}" in GUIDE.read_text("utf-8")
    (guide.folder / "elsewhere").mkdir()
    (guide.folder / "elsewhere" / "mine.toml").write_text(example)
    assert "ledger/implementation" in guide.type("serving deploy plan --key deployer --files elsewhere")


def test_nothing_is_sent_without_a_yes(guide: Guide) -> None:
    told = guide.type("serving deploy apply --key deployer")
    assert (guide.exit_code, "no terminal to ask" in told) == (2, True)
    guide.type("serving deploy apply --key deployer --dry-run")
    assert guide.exit_code == 0
    assert guide.chain.request("eth_blockNumber", []) == "0x0"
    assert not (guide.folder / "networks" / "mine.json").exists()


def test_a_deployed_network_is_found_by_every_command(deployed: Guide) -> None:
    assert "inference-v1.0" in deployed.type("serving registry list --files elsewhere")
    ledger = answer(deployed, "serving deploy show")["contracts"]["ledger"]["front"]["address"]
    assert ledger in deployed.type("serving network show mine")


def test_a_minimum_is_changed_with_an_amount_and_the_plan_says_how(deployed: Guide) -> None:
    spec = deployed.folder / "networks" / "mine.toml"
    spec.write_text(spec.read_text().replace('"3 coins"', '"2 coins"'))
    noted = " ".join(deployed.type("serving deploy plan --key deployer").split())
    assert "the file says 2 coins: serving upgrade apply ledger" in noted
    option = noted.partition("serving upgrade apply ledger ")[2]
    assert option.startswith("--argument minAccountBalance=2000000000000000000")
    fails(deployed, "serving upgrade plan ledger --key deployer --argument minAccountBalance=many", 2, "not an amount")
    for amount in (option.partition("=")[2].split()[0], "2coins"):
        planned = deployed.type(f"serving upgrade plan ledger --key deployer --argument minAccountBalance={amount}")
        assert "3 coins -> 2 coins" in " ".join(planned.split())


def test_a_recommendation_that_the_next_deployment_would_undo_is_noted(deployed: Guide) -> None:
    spec = deployed.folder / "networks" / "mine.toml"
    later = SPEC.split("[[service]]")[1].replace("v1.0", "v1.1").replace("recommended", "#")
    spec.write_text(f"{SPEC}\n[[service]]{later}")
    deployed.type("serving deploy apply --key deployer --yes")
    noted = " ".join(deployed.type("serving registry recommend inference-v1.1 --key deployer --yes").split())
    assert "networks/mine.toml recommends inference-v1.0, so the next serving deploy apply" in noted
    assert "recommends" not in deployed.type("serving registry recommend inference-v1.0 --key deployer --yes")


def test_a_second_network_is_planned_with_a_warning_and_deployed_only_if_confirmed(deployed: Guide) -> None:
    (deployed.folder / "networks" / "mine.json").unlink()
    warning = "this deploys a second network beside it"
    assert warning in " ".join(deployed.type("serving deploy plan --key foundation").split())
    before = deployed.chain.request("eth_blockNumber", [])
    told = deployed.type("serving deploy apply --key foundation")
    assert (deployed.exit_code, warning in " ".join(told.split())) == (2, True)
    assert deployed.chain.request("eth_blockNumber", []) == before


def test_the_wrong_key_is_refused_with_its_own_exit_code(deployed: Guide) -> None:
    fails(
        deployed,
        "serving ownership offer all 0x15d34AAf54267DB7D7c367839AAf71A00a2C6A65 --key foundation --yes",
        4,
        "is 0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266",
    )


def test_a_difference_between_record_and_chain_is_an_exit_code(deployed: Guide) -> None:
    file = RecordFile.open(deployed.folder / "networks" / "mine.json")
    file.record.ledger.owner = deployed.bench.stranger.address
    file.save()
    told = deployed.type("serving deploy check")
    assert deployed.exit_code == 9
    assert f"ledger owner: recorded {deployed.bench.stranger.address}" in told
    deployed.type("serving health")
    assert deployed.exit_code == 9


def test_what_owners_send_stays_in_sync_with_the_record(deployed: Guide) -> None:
    """Whoever owns a contract uses the same commands, and health reports no difference afterwards."""
    for command in (
        "ownership offer inference foundation --key deployer",
        "ownership accept inference --key foundation",
        "ownership transfer fine-tuning-v1.1 foundation --what both --key deployer",
        "ownership renounce inference-v1.0 --key foundation",
        "ownership offer ledger foundation --key deployer",
        "ownership accept --key foundation",
    ):
        told = deployed.type(f"serving {command} --yes")
        assert deployed.exit_code == 0, told
        assert "no differences" in deployed.type("serving deploy check")
    found = {(one["contract"], one["ownership"]): one for one in answer(deployed, "serving ownership show")}
    assert int(found["inference-v1.0", "business"]["owner"], 16) == 0
    assert found["ledger", "business"]["owner"] == deployed.bench.upgrade_owner.address
    assert [one["check"] for one in answer(deployed, "serving health")["symptoms"]] == []


def test_warnings_fail_only_when_asked_to(deployed: Guide) -> None:
    deployed.type("serving ownership offer all foundation --what both --key deployer --yes")
    deployed.type("serving health")
    assert deployed.exit_code == 0
    deployed.type("serving health --strict")
    assert deployed.exit_code == 9


def test_a_dry_run_sends_nothing_also_when_work_is_under_way(deployed: Guide) -> None:
    deployed.kill_at("1")
    assert deployed.type("serving ownership offer all foundation --what both --key deployer --yes").endswith("Killed\n")
    block, foundation = deployed.chain.request("eth_blockNumber", []), deployed.bench.upgrade_owner.address
    for command, says in (
        ("ownership offer all foundation --what both", "6 of 6 steps are left"),
        ("ownership accept", f"The transfer of ownership to {foundation} is not finished"),
        ("deploy apply", f"The transfer of ownership to {foundation} is not finished"),
    ):
        assert says in deployed.type(f"serving {command} --key deployer --dry-run")
    assert deployed.chain.request("eth_blockNumber", []) == block
    deployed.type("serving ownership offer all foundation --what both --key deployer --yes")
    assert deployed.exit_code == 0


def test_programs_get_one_json_document(guide: Guide) -> None:
    plan = answer(guide, "serving deploy plan --key deployer")
    assert len(plan["steps"]) == 16
    done = answer(guide, "serving deploy apply --key deployer --yes")
    assert [step["id"] for step in done["steps"]] == [step["id"] for step in plan["steps"]]
    assert [step["address"] for step in done["steps"]] == [step["address"] for step in plan["steps"]]
    assert answer(guide, "serving deploy check")["differences"] == []
    assert answer(guide, "serving deploy show")["chain_id"] == 31337
    listed = answer(guide, "serving registry list")
    assert [one["name"] for one in listed] == ["inference-v1.0", "fine-tuning-v1.1"]
    assert all(datetime.fromisoformat(one["registered_at"]).tzinfo == UTC for one in listed)
    assert answer(guide, "serving migrate plan inference-v1.0 inference-v1.0") == []
    assert len(answer(guide, "serving ownership show")) == 6
    assert {
        one["refusal"] is None
        for one in answer(guide, "serving ownership rehearse all foundation --what both --key deployer")
    } == {False}
    assert (
        len(answer(guide, "serving ownership offer all foundation --what both --key deployer --yes")["instructions"])
        == 6
    )
    assert {one["state"] for one in answer(guide, "serving upgrade status")} == {"not yet"}
    assert len(answer(guide, "serving ownership accept --key foundation --yes")["steps"]) == 6
    assert answer(guide, "serving health")["level"] == "well"


def test_an_upgrade_with_nothing_new_is_refused(deployed: Guide) -> None:
    fails(deployed, "serving upgrade plan ledger --key deployer", 2, "already runs this build")
    fails(deployed, "serving upgrade plan nothing --key deployer", 3, "has no contract called nothing")
    fails(deployed, "serving upgrade plan ledger --argument x --key deployer", 2, "not of the form NAME=VALUE")
    fails(deployed, "serving upgrade plan ledger --argument other=1 --key deployer", 2, "is not built with other")


def test_kill_minus_nine_at_any_time_does_no_harm(guide: Guide) -> None:
    """A process of its own, killed after so many transactions as a fixed seed draws, until it is let through."""
    chance = Random(6)
    words = ["deploy", "apply", "--key", "deployer", "--yes"]
    killed = 0
    for sent in sorted(chance.randrange(16) for _ in range(8)):
        process = zygote.Silent(words, environment=os.environ, directory=guide.folder)
        while process.runs() and guide.bench.nonce(guide.bench.owner) < sent:
            time.sleep(0.01)
        time.sleep(chance.uniform(0, 0.3))
        if process.runs():
            process.kill()
            killed += 1
        process.wait()
    guide.type(f"serving {' '.join(words)}")
    assert guide.exit_code == 0
    assert killed
    assert guide.bench.nonce(guide.bench.owner) == 16
    assert "no differences" in guide.type("serving deploy check")
