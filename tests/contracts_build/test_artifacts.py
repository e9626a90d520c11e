# SPDX-License-Identifier: Apache-2.0
"""Artifacts: their contents, and that a missing, damaged or stale one is never used."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer import Typer
from typer.testing import CliRunner

from serving_network.cli.artifacts import artifacts
from serving_network.contracts import ArtifactError, load
from serving_network.contracts import artifacts as store
from serving_network.contracts.build import artifacts as builder
from serving_network.contracts.build.errors import TableError
from tests.shared import compile_contract

from .facts import COMPILED, facts

NAMES = list(builder.table())
MAINNET = {
    "LedgerManager": [3 * 10**18, 10**18],
    "InferenceServing": [100 * 10**18],
    "FineTuningServing": [100 * 10**18],
    "UpgradeableBeacon": [None],
    "BeaconProxy": [None, None],
}
MOST_CODE = 24_576


@pytest.mark.parametrize("name", NAMES)
def test_an_artifact_is_complete(name: str) -> None:
    artifact = load(name)
    assert artifact.name == name
    assert artifact.constructor_arguments == MAINNET[name]
    assert artifact.deployed_bytecode in artifact.bytecode
    size = len(artifact.deployed_bytecode)
    assert 0 < size <= MOST_CODE
    assert builder.table()[name]["source"] in artifact.source_hashes


@pytest.mark.parametrize("name", COMPILED)
def test_the_compiler_is_pinned_and_uses_the_networks_evm_version(name: str) -> None:
    compiler = load(name).compiler
    assert compiler["version"].startswith("0.4.3+commit.")
    assert (compiler["evmVersion"], compiler["codegen"]) == ("cancun", "legacy")


@pytest.mark.parametrize("name", COMPILED)
def test_the_build_changes_names_in_the_abi_and_never_an_encoding(name: str) -> None:
    known = facts(name)
    before = [_encoding(entry, known.raw_returns) for entry in known.abi]
    after = [_encoding(entry, known.raw_returns) for entry in load(name).abi if entry["type"] != "error"]
    assert after[: len(before)] == before
    assert all(entry[0] == "event" for entry in after[len(before) :])


def test_every_artifact_is_listed() -> None:
    assert store.names() == sorted(NAMES)


def test_a_missing_artifact_is_reported_with_the_existing_ones() -> None:
    with pytest.raises(ArtifactError, match="There is no artifact of Missing") as refused:
        load("Missing")
    assert "BeaconProxy" in str(refused.value.cause)
    assert refused.value.next_step == "make build"


@pytest.mark.parametrize("damage", ["", "{", "[]", "{}", '{"abi": []}'])
def test_a_damaged_artifact_is_refused(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "BeaconProxy.json"
    path.write_text(damage)
    with pytest.raises(ArtifactError, match="is damaged"):
        store.read(path)


@pytest.mark.parametrize("change", ["changed", "gone"])
def test_a_stale_artifact_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str) -> None:
    stored = json.loads((store.DIRECTORY / "BeaconProxy.json").read_text())
    source = "contracts/proxy/BeaconProxy.evm"
    stored["sourceHashes"][source if change == "changed" else "contracts/proxy/Gone.evm"] = "00" * 32
    (tmp_path / "BeaconProxy.json").write_text(json.dumps(stored))
    monkeypatch.setattr(store, "DIRECTORY", tmp_path)
    load.cache_clear()
    with pytest.raises(ArtifactError, match="stale") as refused:
        load("BeaconProxy")
    assert refused.value.next_step == "make build"
    load.cache_clear()


def test_only_changed_contracts_are_rebuilt(tmp_path: Path) -> None:
    assert builder.build(["BeaconProxy"], output=tmp_path) == ["BeaconProxy"]
    assert builder.build(["BeaconProxy"], output=tmp_path) == []
    path = tmp_path / "BeaconProxy.json"
    stored = json.loads(path.read_text())
    stored["sourceHashes"]["contracts/proxy/BeaconProxy.evm"] = "00" * 32
    path.write_text(json.dumps(stored))
    assert builder.build(["BeaconProxy"], output=tmp_path) == ["BeaconProxy"]
    assert json.loads(path.read_text())["sourceHashes"] != stored["sourceHashes"]


@pytest.mark.parametrize(
    ("addition", "complaint"),
    [
        ({"outputs": {"missing": ["name"]}}, "functions that do not exist"),
        ({"outputs": {"front": ["one", "two"]}}, "contracts.toml names .*, but front returns"),
        ({"raw_outputs": {"front": ["address name"]}}, "raw_outputs"),
        ({"constructor_arguments": {"missing": 1}}, "constructor arguments that do not exist"),
    ],
)
def test_a_table_that_contradicts_the_contract_is_refused(
    monkeypatch: pytest.MonkeyPatch, addition: dict[str, Any], complaint: str
) -> None:
    monkeypatch.setattr(builder, "compile_contract", compile_contract)
    with pytest.raises(TableError, match=complaint):
        builder.make("UpgradeableBeacon", {**builder.table()["UpgradeableBeacon"], **addition})


def test_the_command_writes_a_file_for_each_contract(tmp_path: Path) -> None:
    app = Typer()
    app.command()(artifacts)
    target = tmp_path / "new" / "folder"
    result = CliRunner().invoke(app, [str(target), "--json"])
    assert result.exit_code == 0
    assert json.loads(result.stdout) == [str(target / f"{name}.json") for name in sorted(NAMES)]
    for name in NAMES:
        written = json.loads((target / f"{name}.json").read_text())
        assert written.keys() == {
            "contractName",
            "abi",
            "bytecode",
            "deployedBytecode",
            "constructorArguments",
            "storageLayout",
            "compiler",
        }
        assert written["abi"] == load(name).abi
        assert written["bytecode"] == "0x" + load(name).bytecode.hex()
        given = load(name).constructor_arguments
        assert written["constructorArguments"] == [str(one) if one and one > 2**53 - 1 else one for one in given]
    assert written_stakes(target) == ["100000000000000000000"] * 2


def written_stakes(folder: Path) -> list[Any]:
    """The first constructor argument of both services, as JavaScript could read it without rounding."""
    names = ("FineTuningServing", "InferenceServing")
    return [json.loads((folder / f"{name}.json").read_text())["constructorArguments"][0] for name in names]


def _encoding(entry: dict[str, Any], raw: frozenset[str]) -> tuple[Any, ...]:
    """The parts of an entry that determine its encoding. For plain transfers, fallback and receive are the same."""
    kind = "fallback" if entry["type"] == "receive" else entry["type"]
    outputs = [] if entry.get("name") in raw else entry.get("outputs", [])
    return (
        kind,
        entry.get("name"),
        entry.get("stateMutability"),
        [_shape(parameter) for parameter in entry.get("inputs", [])],
        [_shape(parameter) for parameter in outputs],
    )


def _shape(parameter: dict[str, Any]) -> tuple[Any, ...]:
    parts = [_shape(component) for component in parameter.get("components", [])]
    return parameter["type"], parameter.get("indexed"), parts
