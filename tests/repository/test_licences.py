# SPDX-License-Identifier: Apache-2.0
"""Every Python and Vyper file starts with its licence, and `make format` adds the line to files that lack it."""

from __future__ import annotations

import runpy
from pathlib import Path

from serving_network.contracts.build.artifacts import ROOT

SCRIPT = runpy.run_path(str(ROOT / ".ci" / "licences.py"))
missing, add, sources, LICENCE = SCRIPT["missing"], SCRIPT["add"], SCRIPT["sources"], SCRIPT["LICENCE"]


def test_every_source_names_its_licence() -> None:
    assert {path.suffix for path in sources(ROOT)} == {".py", ".vy"}
    assert missing(ROOT) == []


def test_the_line_is_added_where_it_is_missing(tmp_path: Path) -> None:
    folder = tmp_path / "src"
    folder.mkdir()
    texts = {
        "empty.py": "",
        "script.py": "#!/usr/bin/env python3\nprint()\n",
        "late.py": f'"""A docstring."""\n{LICENCE}',
        "good.py": LICENCE,
        "contract.vy": "# pragma version 0.4.3\n",
    }
    for name, text in texts.items():
        (folder / name).write_text(text)
    found = missing(tmp_path)
    assert [path.name for path in found] == ["contract.vy", "empty.py", "late.py", "script.py"]
    for path in found:
        add(path)
    assert missing(tmp_path) == []
    assert (folder / "script.py").read_text() == f"#!/usr/bin/env python3\n{LICENCE}print()\n"
    assert (folder / "empty.py").read_text() == LICENCE
    assert (folder / "contract.vy").read_text() == f"{LICENCE}# pragma version 0.4.3\n"
