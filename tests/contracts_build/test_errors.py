# SPDX-License-Identifier: Apache-2.0
"""The errors that a contract can raise are exactly the `error` entries of its ABI."""

from pathlib import Path

import pytest

from serving_network.contracts.build.artifacts import table
from serving_network.contracts.build.signatures import parse

from .facts import COMPILED, facts, facts_of

# The live contracts never raise the first three either. A full queue of refunds is not an error here: the request
# is added to the newest refund.
DECLARED_AND_NEVER_RAISED = {
    "LedgerManager": {"InvalidServiceType(string)", "ServiceNotRegistered(address)"},
    "InferenceServing": {"InvalidTEESignature(string)", "TooManyRefunds(address,address)"},
    "FineTuningServing": {"TooManyRefunds(address,address)"},
}
HERE = Path(__file__).parent


@pytest.mark.parametrize("name", COMPILED)
def test_raised_errors_are_the_declared_ones(name: str) -> None:
    declared = {_canonical(line) for line in table()[name]["errors"]}
    raised = facts(name).raised
    never = DECLARED_AND_NEVER_RAISED.get(name, set())
    assert {"undeclared": raised - declared, "not raised": declared - raised} == {
        "undeclared": set(),
        "not raised": never,
    }


def test_errors_in_unreachable_functions_are_not_counted() -> None:
    assert facts_of(HERE / "Layout.vy", HERE).raised == {"One(uint256)", "Two()", "Full()"}


def _canonical(line: str) -> str:
    error = parse(f"error {line}")
    return f"{error['name']}({','.join(parameter['type'] for parameter in error['inputs'])})"
