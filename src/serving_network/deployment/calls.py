# SPDX-License-Identifier: Apache-2.0
"""The bytes of a step: creation code with arguments, or calldata.

A plan keeps arguments as text, which is what its file shows; the ABI says what each of them is.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from serving_network.contracts import Artifact, load
from serving_network.deployment.record import Step
from serving_network.deployment.steps import resolve


def step_data(step: Step, addresses: dict[str, str]) -> bytes:
    """What the transaction of this step carries. Raises KeyError for an "@" name without an address."""
    artifact = load(step.contract)
    if step.action == "call":
        return call_data(artifact, str(step.function), [resolve(one, addresses) for one in step.arguments])
    arguments = typed(constructor_inputs(artifact), [resolve(one, addresses) for one in step.arguments])
    if step.behind is not None:
        initial = [resolve(one, addresses) for one in step.initial]
        arguments = [*arguments[:1], call_data(load(step.behind), "initialize", initial)]
    return artifact.creation_code(*arguments)


def call_data(artifact: Artifact, function: str, arguments: Sequence[str]) -> bytes:
    """Calldata for `function` of the contract, its arguments given as text."""
    return artifact.interface.encode(function, *typed(function_inputs(artifact, function, len(arguments)), arguments))


def typed(inputs: Sequence[Mapping[str, Any]], values: Sequence[str]) -> list[Any]:
    """Text values as the Python values that their ABI types stand for. A missing last value is left out."""
    return [_typed(one["type"], value) for one, value in zip(inputs, values, strict=False)]


def named(inputs: Sequence[Mapping[str, Any]], values: Sequence[str]) -> dict[str, str]:
    """Arguments by name, as text, for a record or a person."""
    return {one["name"].strip("_"): value for one, value in zip(inputs, values, strict=True)}


def constructor_inputs(artifact: Artifact) -> list[dict[str, Any]]:
    return next((list(one["inputs"]) for one in artifact.abi if one["type"] == "constructor"), [])


def function_inputs(artifact: Artifact, function: str, count: int) -> list[dict[str, Any]]:
    """The ABI inputs of the function with that many arguments. Raises KeyError when there is none."""
    return list(function_entry(artifact, function, count)["inputs"])


def function_entry(artifact: Artifact, function: str, count: int) -> dict[str, Any]:
    for entry in artifact.abi:
        if entry["type"] == "function" and entry["name"] == function and len(entry["inputs"]) == count:
            return entry
    raise KeyError(f"{artifact.name}.{function} with {count} arguments")


def _typed(kind: str, value: str) -> Any:
    return int(value) if kind.startswith(("uint", "int")) else value
