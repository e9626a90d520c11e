"""Run the proofs: compile the harnesses around the shipped code, and give them to halmos.

    python proofs/run.py HALMOS [InferenceProofs ...]        (what `make proofs` does)

A claim must be proven for all values; one whose name begins with `check_planted` is false on purpose and must be
refuted. Then one claim is put to a contract with a planted bug, which it must find. The exit status says whether all
that was so. A claim whose paths were not all explored counts as not proven.

halmos expects what a Solidity toolchain leaves behind; this writes the little of it that halmos reads.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from eth_utils import keccak

from serving_network.contracts import load
from serving_network.contracts.build.compiler import compile_contract

HERE = Path(__file__).parent
CONTRACTS = HERE.parent / "contracts"
ARGUMENTS = {
    "InferenceServing": (100 * 10**18,),
    "FineTuningServing": (100 * 10**18,),
    "LedgerManager": (3 * 10**18, 10**18),
}
OPTIONS = ("--storage-layout", "generic", "--loop", "16", "--solver-timeout-assertion", "60000")

# A nonce that was used is good once more: found by the claim that names it.
PLANTED = (
    "settlement.nonce > (word",
    "settlement.nonce >= (word",
    "check_the_same_settlement_is_never_paid_twice",
)

_RESULT = re.compile(r"\[(PASS|FAIL|ERROR|TIMEOUT)\]\S* (check_\w+)\(.*time: ([\d.]+)s")


def main() -> int:
    halmos = sys.argv[1]
    harnesses = sys.argv[2:] or [path.stem for path in sorted((HERE / "harness").glob("*Proofs.vy"))]
    as_it_should = [_prove(halmos, name) for name in harnesses]
    if "InferenceProofs" in harnesses:
        as_it_should.append(_find_planted_bug(halmos))
    return 0 if all(as_it_should) else 1


def _prove(halmos: str, name: str) -> bool:
    """Whether all claims of a harness are proven and the false ones refuted."""
    code = {contract: load(contract).bytecode for contract in ARGUMENTS}
    source = (HERE / "harness" / f"{name}.vy").read_text()
    claims = dict(re.findall(r'def (check_\w+)\([^"]*"""\s+@notice (.*?)\s+"""', source, re.DOTALL))
    found = _run(halmos, name, source, code, "")
    sys.stdout.write(f"{name}\n")
    for claim, sentence in claims.items():
        result, seconds = found.get(claim, ("ERROR", "0"))
        wanted = "FAIL" if claim.startswith("check_planted") else "PASS"
        said = {"PASS": "proven", "FAIL": "refuted"}.get(result, "not decided")
        mark = "" if result == wanted else "   <-- not as it should be"
        sys.stdout.write(f"  {said:11} {seconds:>6} s  {claim}{mark}\n{'':24}{' '.join(sentence.split())}\n")
    sys.stdout.flush()
    return all((found.get(claim, ("",))[0] == "FAIL") == claim.startswith("check_planted") for claim in claims)


def _find_planted_bug(halmos: str) -> bool:
    """Whether the claim about replays is refuted for a contract that accepts a nonce twice."""
    sound, broken, claim = PLANTED
    with TemporaryDirectory() as scratch:
        sources = Path(scratch) / "contracts"
        shutil.copytree(CONTRACTS, sources)
        path = sources / "inference/InferenceServing.vy"
        text = path.read_text()
        if sound not in text:
            raise SystemExit(f"the planted bug has no place any more: {sound!r} is not in {path.name}")
        path.write_text(text.replace(sound, broken))
        code = {name: load(name).bytecode for name in ARGUMENTS}
        code["InferenceServing"] = compile_contract(path, sources).bytecode
    source = (HERE / "harness/InferenceProofs.vy").read_text()
    result, seconds = _run(halmos, "InferenceProofs", source, code, claim.removeprefix("check_")).get(
        claim, ("ERROR", "0")
    )
    verdict = "found" if result == "FAIL" else "NOT FOUND"
    sys.stdout.write(f"a planted bug ({sound} -> {broken}) is {verdict} by {claim}, {seconds} s\n")
    return result == "FAIL"


def _run(halmos: str, name: str, source: str, code: dict[str, bytes], claims: str) -> dict[str, tuple[str, str]]:
    """What halmos says of each claim whose name contains `claims`, and the seconds it took."""
    with TemporaryDirectory() as scratch:
        root = Path(scratch)
        _write(root, name, source, code)
        forge = root / "bin/forge"
        forge.parent.mkdir()
        forge.write_text("#!/bin/sh\n")
        forge.chmod(0o755)
        command = [halmos, "--root", str(root), "--contract", name, "--match-test", claims, *OPTIONS]
        environment = {"PATH": f"{forge.parent}:{os.environ['PATH']}", "HOME": str(root), "COLUMNS": "400"}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)  # noqa: S603
    found = {claim: (result, seconds) for result, claim, seconds in _RESULT.findall(done.stdout)}
    for claim in re.findall(r"(check_\w+)\([^)]*\): paths have not been fully explored", done.stdout + done.stderr):
        found[claim] = ("ERROR", found.get(claim, ("", "0"))[1])
    return found


def _write(root: Path, name: str, source: str, code: dict[str, bytes]) -> None:
    """The compiled harness as forge would leave it."""
    for subject, arguments in ARGUMENTS.items():
        creation = code[subject] + load(subject).interface.encode_constructor(*arguments)
        source = source.replace(f"{{{subject}}}", creation.hex())
    path = root / f"{name}.vy"
    path.write_text(source)
    shutil.copy(HERE / "harness/cheats.vy", root)
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


def _signature(entry: dict[str, Any]) -> str:
    return f"{entry['name']}({','.join(argument['type'] for argument in entry['inputs'])})"


if __name__ == "__main__":
    sys.exit(main())
