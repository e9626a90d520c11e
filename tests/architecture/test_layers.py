# SPDX-License-Identifier: Apache-2.0
"""The import rules in pyproject.toml hold, and each of them finds a violation that is planted for it."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RULES = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]["contracts"]

CIRCLES = "no circles"
# For each rule, by its name, modules with an import that it forbids.
PLANTED = {
    "layers": [
        ("errors", "untrusted"),
        ("files", "money"),
        ("tokenizing/prompts", "files"),
        ("contracts/codec", "messages.usage"),
        ("networks", "wallet.keys"),
        ("localchain/core", "chain.node"),
        ("store/schema", "clients.read.network"),
        ("clients/user", "settlement.gas"),
        ("wallet/keys", "usage_logs.columns"),
        ("settlement/gas", "deployment.spec"),
        ("deployment/spec", "cli.console.output"),
        ("settlement/gas", "gateway.fees"),
        ("settlement/gas", "explorer.index.schema"),
        ("explorer/index/schema", "gateway.fees"),
        ("demo/example", "testing"),
    ],
    "cli: parts of commands above files and console": [
        ("cli/console/times", "cli.files.offer"),
        ("cli/files/offer", "cli.parts.offers"),
    ],
    "clients: reading below acting": [
        ("clients/read/events", "clients.actor"),
        ("clients/user", "clients.provider"),
        ("clients/user", "clients.buying.purchase"),
        ("clients/bills/matching", "clients.actor"),
    ],
    "reading the network needs no key and sends nothing": [
        ("clients/read/earnings", "signing"),
        ("clients/read/earnings", "chain.connection"),
        ("chain/contract", "chain.sender"),
    ],
    "verifying a bill needs no key and sends nothing": [
        ("clients/bills/verdict", "chain.sender"),
        ("clients/bills/verdict", "chain.connection"),
    ],
    "settlement is handed rows, a signer and a network": [
        ("settlement/gas", "usage_logs.columns"),
        ("settlement/gas", "wallet.local"),
        ("settlement/gas", "networks"),
    ],
    "deployment is handed a connection and a signer": [
        ("deployment/spec", "wallet.local"),
        ("deployment/spec", "store"),
    ],
    "gateway is handed a signer and a network, and never a wallet's key": [
        ("gateway/fees", "wallet.local"),
        ("gateway/fees", "deployment.spec"),
        ("gateway/fees", "localchain"),
        ("gateway/fees", "networks"),
    ],
    "the explorer reads, and holds no key": [
        ("explorer/index/schema", "wallet.local"),
        ("explorer/index/schema", "signing"),
        ("explorer/index/schema", "chain.sender"),
        ("explorer/index/schema", "chain.connection"),
        ("explorer/index/schema", "clients.actor"),
        ("explorer/index/schema", "settlement.gas"),
        ("explorer/index/schema", "deployment.spec"),
    ],
    CIRCLES: [
        ("contracts/codec", "contracts.artifacts"),
        ("money", "networks"),
        ("cli/console/times", "cli.ledger"),
    ],
}


def check(package: Path) -> tuple[set[str], str]:
    """The names of the rules that a copy of the package breaks, and the whole report."""
    checked = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-logo", "--no-cache", ROOT / "pyproject.toml"],
        cwd=package.parent,
        env={"PYTHONPATH": str(package.parent), "COLUMNS": "300"},
        capture_output=True,
        text=True,
        check=False,
    )
    kept = {rule["name"] for rule in RULES if f"{rule['name']} KEPT" in checked.stdout}
    broken = {rule["name"] for rule in RULES if f"{rule['name']} BROKEN" in checked.stdout}
    assert len(kept) + len(broken) == len(RULES), checked.stdout + checked.stderr
    assert checked.returncode == (1 if broken else 0)
    return broken, checked.stdout


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    copy = tmp_path_factory.mktemp("source") / "serving_network"
    shutil.copytree(ROOT / "src" / "serving_network", copy, ignore=shutil.ignore_patterns("__pycache__", "*.json"))
    return copy


@contextmanager
def violations(package: Path, *rules: str) -> Iterator[None]:
    """A copy of the package with the violations of these rules in it."""
    imports = [one for rule in rules for one in PLANTED[rule]]
    original = {package / f"{module}.py": (package / f"{module}.py").read_text("utf-8") for module, _ in imports}
    try:
        for module, imported in imports:
            with (package / f"{module}.py").open("a", encoding="utf-8") as file:
                file.write(f"\nif TYPE_CHECKING:\n    import serving_network.{imported}\n")
        yield
    finally:
        for path, source in original.items():
            path.write_text(source, "utf-8")


def test_every_rule_has_planted_violations() -> None:
    assert sorted(PLANTED) == sorted(rule["name"] for rule in RULES)


def test_the_architecture_page_shows_the_layers() -> None:
    (layers,) = (rule["layers"] for rule in RULES if rule["name"] == "layers")
    page = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    rows = page.split("| layer |", 1)[1].split("\n\n", 1)[0].splitlines()[2:]
    shown = [re.findall(r"`(\w+)`", row.split("|")[1]) for row in rows]
    assert shown == [[name.strip() for name in layer.split("|")] for layer in layers]


def test_the_rules_hold(copied: Path) -> None:
    assert check(copied)[0] == set()


@pytest.fixture(scope="module")
def planted(copied: Path) -> dict[str, str]:
    """The sections of the report on all violations but circles, which the others would close as well, by rule."""
    with violations(copied, *(rule for rule in PLANTED if rule != CIRCLES)):
        _, *parts = re.split(r"^(.+)\n-+\n", check(copied)[1], flags=re.MULTILINE)
    return dict(zip(parts[::2], parts[1::2], strict=True))


@pytest.mark.parametrize("rule", [rule for rule in PLANTED if rule != CIRCLES])
def test_planted_violations_are_found(planted: dict[str, str], rule: str) -> None:
    for module, imported in PLANTED[rule]:
        path = f"serving_network.{module.replace('/', '.')} -> serving_network.{imported}"
        assert path in planted[rule], path


def test_planted_circles_are_found(copied: Path) -> None:
    with violations(copied, CIRCLES):
        assert CIRCLES in check(copied)[0]


def test_every_package_is_seen_by_the_rules() -> None:
    """A directory without __init__.py is not, whatever it imports."""
    source = ROOT / "src" / "serving_network"
    directories = {path.parent for path in source.rglob("*.py")}
    assert [path for path in directories if not (path / "__init__.py").is_file()] == []
