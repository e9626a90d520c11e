# SPDX-License-Identifier: Apache-2.0
"""Find unused code; `make lint` runs this.

python .ci/unused.py [ROOT]

Vulture reports names in the package, its benchmarks, proofs, examples and tools that none of these use. Use in a test
does not count. ALLOWED lists names whose use vulture cannot see, each with the reason; an entry that matches nothing is
reported too. The exit status is 1 if anything is reported.
"""

from __future__ import annotations

import re
import sys
from fnmatch import fnmatch
from pathlib import Path
from typing import NamedTuple

from vulture.core import Vulture

ROOT = Path(__file__).parent.parent
PATHS = ("src", "benchmarks", "proofs", "examples", ".ci", "hatch_build.py")
LIKELY = 60
# Typer calls what these decorate.
REGISTERED = ("@app.command", "@app.callback")


class Allowed(NamedTuple):
    """Names in files (both as patterns) that are used in a way that vulture cannot see."""

    path: str
    names: tuple[str, ...]
    reason: str


ALLOWED = (
    Allowed("src/serving_network/contracts/errors/*", ("*",), "fields are set and read by the names on the wire"),
    Allowed("src/serving_network/contracts/reverts.py", ("selectors",), "tests compare it with the contracts"),
    Allowed("src/serving_network/cli/*", ("ANVIL", "BASH", "BUSINESS", "FISH", "UPGRADE", "ZSH"), "typer reads Enums"),
    Allowed("src/serving_network/cli/*", ("format_help", "no_args_is_help"), "click calls and reads them"),
    Allowed("src/serving_network/cli/console/terminal.py", ("on_broken_pipe",), "rich calls it"),
    Allowed("src/serving_network/cli/*", ("ending", "picture", "refresh"), "parameters of a protocol"),
    Allowed("src/serving_network/deployment/*", ("model_config", "_*"), "pydantic reads settings and validators"),
    Allowed(
        "src/serving_network/messages/*",
        ("check_answer", "hash_receipts", "sign_tags"),
        "public: for programs that check answers and receipts, or sign by tags",
    ),
    Allowed("src/serving_network/wallet/local.py", ("sign_answer", "sign_tags"), "the gateway's server calls them"),
    Allowed(
        "src/serving_network/gateway/connections.py",
        ("connection_*", "*_received", "*_writing", "on_*"),
        "asyncio and httptools call them",
    ),
    Allowed(
        "src/serving_network/explorer/web/*",
        ("is_number", "kicker", "plots", "is_daily", "page_url", "sort_url", "download_url"),
        "templates read them",
    ),
    Allowed("src/serving_network/localchain/evm.py", ("*",), "py-evm calls what it inherits"),
    Allowed(
        "src/serving_network/localchain/calling.py",
        ("_length_cache", "data_as_bytes", "refund_strategy"),
        "py-evm reads the attributes of messages, code and meters",
    ),
    Allowed(
        "src/serving_network/localchain/interpreter.py",
        ("accounts_to_delete", "beneficiaries"),
        "py-evm reads the attributes of a computation",
    ),
    Allowed("src/serving_network/localchain/server.py", ("ws_url",), "public: the WebSocket URL of a test's chain"),
    Allowed("src/serving_network/money.py", ("prec", "to_coins"), "decimal reads the precision; to_coins is public"),
    Allowed("benchmarks/gateway/*", ("connection_*", "data_received"), "asyncio calls the methods of a protocol"),
    Allowed("benchmarks/gas/*", ("not_flat", "unanswerable"), "tests/gas asserts that they find nothing"),
    Allowed("examples/*", ("pytest_plugins",), "pytest reads it"),
    Allowed("hatch_build.py", ("CompileContracts", "build_data"), "hatch calls the hook"),
    Allowed(".ci/docs.py", ("links", "anchors"), "tests check links without building the site"),
)


def unused(root: Path) -> list[tuple[str, int, str, str]]:
    """What vulture reports: path, line, name and message. A command that the command line's table names is used."""
    vulture = Vulture(ignore_decorators=list(REGISTERED))
    vulture.scavenge([str(root / path) for path in PATHS if (root / path).exists()])
    table = root / "src" / "serving_network" / "cli" / "main.py"
    named = set(re.findall(r'^ +"(\w+)": "', table.read_text("utf-8"), re.MULTILINE)) if table.exists() else set()
    return [
        (Path(item.filename).relative_to(root).as_posix(), item.first_lineno, item.name, item.message)
        for item in vulture.get_unused_code(min_confidence=LIKELY)
        if item.name not in named
    ]


def main() -> int:
    root = Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else ROOT
    needed: set[Allowed] = set()
    lines: list[str] = []
    for path, number, name, message in unused(root):
        entries = [
            one for one in ALLOWED if fnmatch(path, one.path) and any(fnmatch(name, pattern) for pattern in one.names)
        ]
        needed.update(entries)
        if not entries:
            lines.append(f"{path}:{number}: {message}")
    lines += [f"{Path(__file__).name}: ALLOWED needs no entry for {one.path}" for one in ALLOWED if one not in needed]
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
