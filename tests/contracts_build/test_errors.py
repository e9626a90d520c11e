# SPDX-License-Identifier: Apache-2.0
"""The errors that a contract can raise are exactly the `error` entries of its ABI."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from vyper.ast import nodes
from vyper.compiler.phases import CompilerData

from serving_network.contracts.build.artifacts import ROOT, table
from serving_network.contracts.build.compiler import prepare
from serving_network.contracts.build.signatures import parse

# The live contracts never raise the first three either. A full queue of refunds is not an error here: the request
# is added to the newest refund.
DECLARED_AND_NEVER_RAISED = {
    "LedgerManager": {"InvalidServiceType(string)", "ServiceNotRegistered(address)"},
    "InferenceServing": {"InvalidTEESignature(string)", "TooManyRefunds(address,address)"},
    "FineTuningServing": {"TooManyRefunds(address,address)"},
}
HERE = Path(__file__).parent


@pytest.mark.parametrize("name", [name for name, entry in table().items() if entry["source"].endswith(".vy")])
def test_raised_errors_are_the_declared_ones(name: str) -> None:
    entry = table()[name]
    declared = {_canonical(line) for line in entry["errors"]}
    raised = set(_raised(prepare(ROOT / entry["source"], ROOT / "contracts")))
    never = DECLARED_AND_NEVER_RAISED.get(name, set())
    assert {"undeclared": raised - declared, "not raised": declared - raised} == {
        "undeclared": set(),
        "not raised": never,
    }


def test_errors_in_unreachable_functions_are_not_counted() -> None:
    assert set(_raised(prepare(HERE / "Layout.vy", HERE))) == {"One(uint256)", "Two()", "Full()"}


def _raised(contract: CompilerData) -> Iterator[str]:
    """The signatures of the errors in every function that a call or the creation can reach.

    Errors start with a capital letter; the functions that the contracts call start with a lower-case letter.
    """
    module = contract.global_ctx
    entered = [*module.exposed_functions, *([module.init_function] if module.init_function else [])]
    functions = {one for function in entered for one in (function, *function.reachable_internal_functions)}
    for function in functions:
        for call in function.ast_def.get_descendants(nodes.Call):
            if getattr(call.func, "id", "") == "method_id" and call.args[0].value[0].isupper():
                yield call.args[0].value


def _canonical(line: str) -> str:
    error = parse(f"error {line}")
    return f"{error['name']}({','.join(parameter['type'] for parameter in error['inputs'])})"
