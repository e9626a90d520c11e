# SPDX-License-Identifier: Apache-2.0
"""The two files of a network: what a person writes, and what the tool writes."""

from pathlib import Path

import pytest

from serving_network.contracts.build.artifacts import ROOT
from serving_network.deployment.errors import RecordProblem
from serving_network.deployment.local import LOCAL
from serving_network.deployment.record_file import RecordFile
from serving_network.deployment.spec import load_spec

from .conftest import Bench

GOOD = """
[network]
chain_id = 7

[ledger]
min_account_balance = "0.1 coins"
min_transfer_amount = "7 wei"

[[service]]
contract = "InferenceServing"
type = "inference"
version = "v1.0"
description = "d"
lock_time = 3600
min_provider_stake = "100 coins"
"""


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "net.toml"
    path.write_text(text)
    return path


def test_the_committed_file_of_the_local_network_is_what_is_deployed() -> None:
    compatible = {"clients": ">=0.1", "providers": ">=0.1"}
    assert load_spec(ROOT / "networks" / "local.toml") == LOCAL.model_copy(
        update={
            "ledger": LOCAL.ledger.model_copy(update=compatible),
            "services": tuple(one.model_copy(update=compatible) for one in LOCAL.services),
        }
    )


def test_amounts_are_exact(tmp_path: Path) -> None:
    spec = load_spec(written(tmp_path, GOOD))
    assert (spec.ledger.min_account_balance, spec.ledger.min_transfer_amount) == (10**17, 7)
    assert spec.services[0].min_provider_stake == 10**20


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("chain_id = 7", "chain_id = 0", "chain_id"),
        ("[network]", "[net]", r"no \[network\] part"),
        ('"7 wei"', '"0 wei"', "ledger.min_transfer_amount"),
        ('"7 wei"', "0.1", "ledger.min_transfer_amount"),
        ('"7 wei"', '"all"', "ledger.min_transfer_amount"),
        ("lock_time = 3600", "lock_time = 3599", "services.0.lock_time"),
        ("lock_time = 3600", "lock_time = 604801", "services.0.lock_time"),
        ("lock_time = 3600", "lock_time = 3600\npenalty_percentage = 30", "FineTuningServing needs penalty_percentage"),
        ('"InferenceServing"', '"FineTuningServing"', "FineTuningServing needs penalty_percentage"),
        ('"InferenceServing"', '"Serving"', "services.0.contract"),
        ("lock_time = 3600", "lock_time = 3600\nlock_tme = 1", "lock_tme"),
        (
            "lock_time = 3600",
            'lock_time = 3600\nowner = "0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266"',
            "not an address with a valid checksum",
        ),
        ("[ledger]", "[ledger", "is not TOML"),
    ],
)
def test_a_mistake_is_told_with_its_place(tmp_path: Path, old: str, new: str, says: str) -> None:
    assert old in GOOD
    with pytest.raises(RecordProblem, match=says) as problem:
        load_spec(written(tmp_path, GOOD.replace(old, new)))
    assert problem.value.next_step


def test_two_services_of_one_name_or_two_recommendations_of_one_type_are_a_mistake(tmp_path: Path) -> None:
    service = GOOD[GOOD.index("[[service]]") :] + "recommended = true\n"
    with pytest.raises(RecordProblem, match="same type and version"):
        load_spec(written(tmp_path, GOOD + service))
    with pytest.raises(RecordProblem, match="two versions of one service type are recommended"):
        load_spec(written(tmp_path, GOOD + "recommended = true\n" + service.replace("v1.0", "v1.1")))


def test_a_file_that_is_not_there_is_told_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(RecordProblem, match="There is no"):
        load_spec(tmp_path / "net.toml")
    with pytest.raises(RecordProblem, match="There is no record"):
        RecordFile.open(tmp_path / "net.json")


def test_a_record_reads_back_as_it_was_written(network: Bench) -> None:
    text = network.path.read_text()
    RecordFile.open(network.path).save()
    assert network.path.read_text() == text


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[: len(text) // 2],
        lambda text: text.replace('"chain_id": 31337', '"chain_id": "31337"'),
        lambda text: text.replace('"format": 1', '"format": 2'),
        lambda text: text.replace('"genesis"', '"genesys"'),
        lambda _: "",
    ],
    ids=["cut in half", "another type", "another format", "an unknown key", "empty"],
)
def test_a_damaged_record_is_refused(network: Bench, damage: object) -> None:
    assert callable(damage)
    network.path.write_text(damage(network.path.read_text()))
    with pytest.raises(RecordProblem, match="is damaged at") as problem:
        network.deploy()
    assert problem.value.next_step is not None
    assert "version control" in problem.value.next_step


def test_a_crash_while_saving_leaves_the_old_record(network: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    before = network.path.read_text()
    file = network.file()
    file.record.deployer = network.stranger.address
    monkeypatch.setattr("os.fsync", _crash)
    with pytest.raises(OSError, match="power"):
        file.save()
    assert network.path.read_text() == before


def _crash(_: int) -> None:
    raise OSError("the power is gone")
