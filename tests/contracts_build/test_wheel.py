# SPDX-License-Identifier: Apache-2.0
"""The wheel must contain the compiled contracts and use its own."""

import json
import subprocess
import sys
import zipfile
from pathlib import Path

from serving_network.contracts.build.artifacts import ROOT, table

LOAD_ALL = """
import json, sys
import serving_network
from serving_network.contracts import load
print(json.dumps([serving_network.__file__, *(load(name).name for name in sys.argv[1:])]))
"""


def test_the_wheel_carries_the_compiled_contracts_and_loads_them_outside_a_checkout(tmp_path: Path) -> None:
    made = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert made.returncode == 0, made.stderr
    (wheel,) = tmp_path.glob("*.whl")
    installed = tmp_path / "installed"
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        archive.extractall(installed)
    assert {f"serving_network/contracts/artifacts/{name}.json" for name in table()} <= names
    assert "serving_network/py.typed" in names
    assert not [name for name in names if name.startswith(("tests/", "contracts/"))]
    ran = subprocess.run(
        [sys.executable, "-c", LOAD_ALL, *table()],
        cwd=tmp_path,
        env={"PYTHONPATH": str(installed), "HOME": str(tmp_path), "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    where, *loaded = json.loads(ran.stdout)
    assert Path(where).is_relative_to(installed)
    assert loaded == list(table())
