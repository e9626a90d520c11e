# SPDX-License-Identifier: Apache-2.0
"""Run the proofs: compile the harnesses around the shipped code, and give them to halmos.

    python proofs/run.py HALMOS [PART ...] [--claim TEXT] [--only claims|reach|planted]        (what `make proofs` does)

A part is a harness, by the beginning of its name; a claim is picked by any part of its name. Four things must be so:

- Every claim is proven for all values. One whose name begins with `check_planted` is false on purpose and must be
  refuted. A claim whose paths were not all explored counts as not proven.
- Every `cheats._holds` of every claim is reached: with a statement that is false put in its place, halmos must find
  values that get there. A claim about nothing would be proven too.
- Every planted bug (planted.toml) is found by the claim that is named for it, and the values that show it are printed.
- Every function that can change the state of a contract is in functions.toml, with who may call it and the claims about
  it; and no function that only some may call lacks the claim that all others are refused.

halmos expects what a Solidity toolchain leaves behind; this writes the little of it that halmos reads.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from eth_utils import keccak

from serving_network.contracts import load
from serving_network.contracts.build.compiler import compile_contract

HERE = Path(__file__).parent
HARNESS = HERE / "harness"
CONTRACTS = HERE.parent / "contracts"
ARGUMENTS: dict[str, tuple[int, ...]] = {
    "InferenceServing": (100 * 10**18,),
    "FineTuningServing": (100 * 10**18,),
    "LedgerManager": (3 * 10**18, 10**18),
}
SERVICES = ("InferenceServing", "FineTuningServing")
OPTIONS = (
    *("--storage-layout", "generic", "--loop", "16", "--no-status"),
    *("--solver-timeout-branching", "20"),
)
# What is run unless something is named: what is written and not decided yet is called Open.
RUN = ("Account", "Batch", "Beacon", "FineTuning", "Inference", "Ledger")
# Who decides, and who is asked where the first runs into the limit of time. z3 is far quicker with parts of words.
SOLVERS = ("yices", "z3")
# Milliseconds for one question, at first and when the other is asked.
LIMITS = ("20000", "120000")
Z3_FIRST = ("BatchProofs", "OpenAccountProofs", "OpenBatchProofs")

_RESULT = re.compile(r"\[(PASS|FAIL|ERROR|TIMEOUT)\]\S* (check_\w+)\(.*time: ([\d.]+)s")
_CLAIM = re.compile(
    r'^def (check_\w+)\(([^)]*)\):\n    """\n    @notice (.*?)\n    """\n(.*?)(?=^@|\Z)', re.DOTALL | re.MULTILINE
)
_HOLDS = "cheats._holds("
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_VALUE = re.compile(r"p_(\w+?)_(?:u?int\d+|bytes\d+|bool|address)(?:_\w+)? = (\S+)")


@dataclass(frozen=True)
class Part:
    """One harness around one choice of contracts."""

    name: str
    harness: str
    source: str

    @property
    def claims(self) -> dict[str, str]:
        return {name: " ".join(sentence.split()) for name, _, sentence, _ in _CLAIM.findall(self.source)}


@dataclass
class Outcome:
    """What halmos says of one claim: its verdict, the seconds it took, and values of every refutation it found."""

    verdict: str = "ERROR"
    seconds: str = "0"
    examples: tuple[dict[str, str], ...] = ()


def main() -> int:
    asked = _arguments()
    parts = [one for one in _parts() if one.name.startswith(tuple(asked.parts or RUN))]
    begun = time.monotonic()
    good = _functions_are_listed() if not asked.only and not asked.claim else True
    for part in parts:
        if asked.only in (None, "claims"):
            good &= _prove(asked.halmos, part, asked.claim)
    for part in parts:
        if asked.only in (None, "reach"):
            good &= _reach(asked.halmos, part, asked.claim)
    if asked.only in (None, "planted"):
        for bug in tomllib.loads((HERE / "planted.toml").read_text())["bug"]:
            if any(one.name == bug["part"] for one in parts) and asked.claim in bug["claim"]:
                good &= _find(asked.halmos, bug)
    _say(f"{time.monotonic() - begun:.0f} s in all. {'As it should be.' if good else 'NOT AS IT SHOULD BE.'}")
    return 0 if good else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Prove claims about the compiled contracts.")
    parser.add_argument("halmos", help="the program")
    parser.add_argument("parts", nargs="*", help="only these harnesses, by the beginning of their names")
    parser.add_argument("--claim", default="", help="only claims whose names contain this")
    parser.add_argument("--only", choices=("claims", "reach", "planted"), help="only this of the checks")
    return parser.parse_args()


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _parts() -> Iterator[Part]:
    """Every harness; one that is written for either service, once for each."""
    for path in sorted(HARNESS.glob("*Proofs.vy")):
        source = path.read_text()
        if "{Serving" not in source:
            yield Part(path.stem, path.stem, source)
            continue
        for service in SERVICES:
            yield Part(f"{path.stem}/{service}", path.stem, source.replace("{Serving", "{" + service))


# The claims


def _prove(halmos: str, part: Part, wanted: str) -> bool:
    """Whether all claims of a harness are proven and the false ones refuted."""
    claims = {name: sentence for name, sentence in part.claims.items() if wanted in name}
    if not claims:
        return True
    found = _run(halmos, part, part.source, {}, wanted)
    _say(part.name)
    good = True
    for claim, sentence in claims.items():
        one = found.get(claim, Outcome())
        as_it_should = one.verdict == ("FAIL" if claim.startswith("check_planted") else "PASS")
        said = {"PASS": "proven", "FAIL": "refuted"}.get(one.verdict, "not decided")
        _say(f"  {said:11} {one.seconds:>6} s  {claim}{'' if as_it_should else '   <-- not as it should be'}")
        _say(f"{'':24}{sentence}")
        if not as_it_should:
            for example in one.examples[:3]:
                _say(f"{'':24}{_spelled(example)}")
        good &= as_it_should
    return good


def _reach(halmos: str, part: Part, wanted: str) -> bool:
    """Whether some values lead to every `cheats._holds`: each must be refuted when it says something false."""
    source, marks = _marked(part.source)
    marks = {claim: count for claim, count in marks.items() if wanted in claim}
    if not marks:
        return True
    found = _run(halmos, part, source, {}, wanted)
    missing = {
        claim: sorted(set(range(count)) - {int(one.get("mark", "-1"), 16) for one in found[claim].examples})
        for claim, count in marks.items()
        if claim in found
    }
    missing |= {claim: list(range(count)) for claim, count in marks.items() if claim not in found}
    reached = sum(marks.values()) - sum(len(some) for some in missing.values())
    _say(f"{part.name}: {reached} of {sum(marks.values())} statements are reached")
    for claim, some in missing.items():
        for one in some:
            _say(f"  NOT REACHED: statement {one + 1} of {claim}")
    return reached == sum(marks.values())


def _marked(source: str) -> tuple[str, dict[str, int]]:
    """The harness with one more argument for every claim, the number of the statement that shall be false."""
    marks: dict[str, int] = {}

    def mark(found: re.Match[str]) -> str:
        name, arguments, _, body = found.groups()
        count = body.count(_HOLDS)
        marks[name] = count
        for number in range(count):
            body = body.replace(_HOLDS, f"cheats._fails(mark == {number}, ", 1)
        listed = ", ".join([*(one.strip() for one in arguments.split(",") if one.strip()), "mark: uint256"])
        return f"def {name}({listed}):\n{body}"

    return _CLAIM.sub(mark, source), marks


def _find(halmos: str, bug: dict[str, str]) -> bool:
    """Whether a claim is refuted for a contract with a bug in it."""
    [part] = [one for one in _parts() if one.name == bug["part"]]
    with TemporaryDirectory() as scratch:
        sources = Path(scratch) / "contracts"
        shutil.copytree(CONTRACTS, sources)
        path = sources / bug["file"]
        text = path.read_text()
        if text.count(bug["sound"]) != 1:
            raise SystemExit(f"the planted bug has no place any more: {bug['sound']!r} is not once in {path.name}")
        path.write_text(text.replace(bug["sound"], bug["broken"]))
        [top] = sources.glob(f"*/{bug['contract']}.vy")
        code = {bug["contract"]: compile_contract(top, sources).bytecode}
    claim = bug["claim"]
    one = _run(halmos, part, part.source, code, claim.removeprefix("check_")).get(claim, Outcome())
    verdict = "found" if one.verdict == "FAIL" else "NOT FOUND"
    _say(f"planted in {bug['contract']}: {bug['what']}")
    _say(f"  {bug['file']}: {' '.join(bug['sound'].split())}  ->  {' '.join(bug['broken'].split())}")
    _say(f"  {verdict} by {part.name}.{claim}, {one.seconds} s")
    for example in one.examples[:1]:
        _say(f"  {_spelled(example)}")
    return one.verdict == "FAIL"


def _spelled(example: dict[str, str]) -> str:
    return ", ".join(f"{name} = {value}" for name, value in sorted(example.items())) or "whatever the values"


# The list of functions


def _functions_are_listed() -> bool:
    """Whether functions.toml names exactly the functions that can change something, and claims that exist."""
    listed = tomllib.loads((HERE / "functions.toml").read_text())
    parts = {part.name: part for part in _parts()}
    wrong = []
    for contract in (*ARGUMENTS, "UpgradeableBeacon"):
        there = {_signature(entry) for entry in load(contract).abi if _changes(entry)}
        table = listed[contract]
        wrong += [f"{contract}.{name} is not listed" for name in sorted(there - set(table))]
        wrong += [f"{contract}.{name} is listed and not there" for name in sorted(set(table) - there)]
        for name, about in table.items():
            if not about["claims"]:
                wrong.append(f"{contract}.{name} has no claim")
            for claim in about["claims"]:
                harness, _, check = claim.partition(".")
                if harness not in parts or f"check_{check}" not in parts[harness].claims:
                    wrong.append(f"{contract}.{name}: there is no claim {claim}")
            refused = [one for one in about["claims"] if ".only_" in one or ".nobody_" in one]
            spelled = any(f'"{name}"' in parts[one.partition(".")[0]].source for one in refused)
            if about["caller"] != "anybody" and name != "receive" and not spelled:
                wrong.append(f"{contract}.{name} is for {about['caller']}, and no claim says that others are refused")
    for one in wrong:
        _say(f"functions.toml: {one}   <-- not as it should be")
    return not wrong


def _changes(entry: dict[str, Any]) -> bool:
    return entry["type"] in ("function", "receive", "fallback") and entry["stateMutability"] in (
        "payable",
        "nonpayable",
    )


def _signature(entry: dict[str, Any]) -> str:
    if entry["type"] != "function":
        return str(entry["type"])
    return f"{entry['name']}({','.join(_kind(argument) for argument in entry['inputs'])})"


def _kind(argument: dict[str, Any]) -> str:
    kind = str(argument["type"])
    if not kind.startswith("tuple"):
        return kind
    return f"({','.join(_kind(one) for one in argument['components'])}){kind.removeprefix('tuple')}"


# halmos


def _run(halmos: str, part: Part, source: str, code: dict[str, bytes], claims: str) -> dict[str, Outcome]:
    """What halmos says of each claim whose name contains `claims`, for the shipped code or what `code` has instead."""
    with TemporaryDirectory() as scratch:
        root = Path(scratch)
        _write(root, part.harness, source, code)
        forge = root / "bin/forge"
        forge.parent.mkdir()
        forge.write_text("#!/bin/sh\n")
        forge.chmod(0o755)
        first, second = reversed(SOLVERS) if part.harness in Z3_FIRST else SOLVERS
        found = _halmos([halmos, "--root", str(root), "--contract", part.harness, "--solver", first], claims, LIMITS[0])
        left = [claim for claim, one in found.items() if one.verdict == "TIMEOUT"]
        if left:
            again = f"^({'|'.join(left)})[(]"
            found |= _halmos(
                [halmos, "--root", str(root), "--contract", part.harness, "--solver", second], again, LIMITS[1]
            )
    return found


def _halmos(command: list[str], claims: str, limit: str) -> dict[str, Outcome]:
    root = Path(command[2])
    environment = {"PATH": f"{root / 'bin'}:{os.environ['PATH']}", "HOME": str(root), "COLUMNS": "400"}
    command = [*command, "--match-test", claims, *OPTIONS, "--solver-timeout-assertion", limit]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)  # noqa: S603
    return _read(_COLOUR.sub("", done.stdout), _COLOUR.sub("", done.stderr))


def _read(output: str, warnings: str) -> dict[str, Outcome]:
    found: dict[str, Outcome] = {}
    begin = 0
    for result in _RESULT.finditer(output):
        told = output[begin : result.start()].split("Counterexample:")[1:]
        examples = tuple(dict(_VALUE.findall(one)) for one in told)
        found[result[2]] = Outcome(result[1], result[3], examples)
        begin = result.end()
    for claim in re.findall(r"(check_\w+)\([^)]*\): paths have not been fully explored", output + warnings):
        found.setdefault(claim, Outcome()).verdict = "ERROR"
    return found


def _write(root: Path, name: str, source: str, code: dict[str, bytes]) -> None:
    """The compiled harness as forge would leave it."""
    for helper in HARNESS.glob("[a-z]*.vy"):
        (root / helper.name).write_text(_filled(helper.read_text(), code))
    path = root / f"{name}.vy"
    path.write_text(_filled(source, code))
    compiled = compile_contract(path, root)
    signatures = [_signature(entry) for entry in compiled.abi if entry["type"] == "function"]
    node: dict[str, Any] = {"id": 0, "src": "0:0:0"}
    contract = node | {"nodeType": "ContractDefinition", "name": name, "contractKind": "contract", "nodes": []}
    artifact: dict[str, Any] = {
        "id": 0,
        "abi": compiled.abi,
        "bytecode": {"object": "0x" + compiled.bytecode.hex(), "linkReferences": {}},
        "deployedBytecode": {"object": "0x" + compiled.deployed_bytecode.hex(), "linkReferences": {}},
        "methodIdentifiers": {signature: keccak(text=signature)[:4].hex() for signature in signatures},
        "metadata": {"compiler": {"version": "0.8.26"}, "output": {"devdoc": {"methods": {}}}},
        "ast": node | {"absolutePath": f"{name}.sol", "nodeType": "SourceUnit", "nodes": [contract]},
    }
    folder = root / "out" / f"{name}.sol"
    folder.mkdir(parents=True)
    (folder / f"{name}.json").write_text(json.dumps(artifact))


def _filled(source: str, code: dict[str, bytes]) -> str:
    """A source with the creation code that it asks for as {Contract}, and the slots as {Contract:module.variable}."""

    def fill(found: re.Match[str]) -> str:
        contract, variable = found.groups()
        if variable is None:
            creation = code.get(contract, load(contract).bytecode)
            if contract in ARGUMENTS:
                creation += load(contract).interface.encode_constructor(*ARGUMENTS[contract])
            return creation.hex()
        return str(_slot(contract, variable))

    return re.sub(r"\{(\w+)(?::([\w.]+))?\}", fill, source)


@cache
def _slot(contract: str, variable: str) -> int:
    layout: Any = load(contract).storage_layout["storage_layout"]
    for name in variable.split("."):
        layout = layout[name]
    return int(layout["slot"])


if __name__ == "__main__":
    sys.exit(main())
