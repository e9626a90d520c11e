# SPDX-License-Identifier: Apache-2.0
"""The bytes of a step: creation code with arguments, or calldata.

A plan keeps arguments as text, as its file shows them. The ABI has their types.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from serving_network.contracts import Artifact, load
from serving_network.deployment.record import Instruction, Step
from serving_network.deployment.steps import resolve


def step_data(step: Step, addresses: dict[str, str]) -> bytes:
    """The data of a step's transaction. Raises KeyError for an "@" name without an address."""
    artifact = load(step.contract)
    if step.action == "call":
        return call_data(artifact, str(step.function), [resolve(one, addresses) for one in step.arguments])
    arguments = typed(constructor_inputs(artifact), [resolve(one, addresses) for one in step.arguments])
    if step.behind is not None:
        initial = [resolve(one, addresses) for one in step.initial]
        arguments = [*arguments[:1], call_data(load(step.behind), "initialize", initial)]
    return artifact.creation_code(*arguments)


def instruction_for(step: Step, owner: str, addresses: dict[str, str], subject: str) -> Instruction:
    """The instruction for `owner` to make the call of a step, on the contract called `subject`."""
    arguments = [resolve(one, addresses) for one in step.arguments]
    return Instruction(
        id=step.id,
        says=step.says,
        sender=owner,
        to=resolve(str(step.to), addresses),
        contract=step.contract,
        function=str(step.function),
        arguments=arguments,
        data="0x" + call_data(load(step.contract), str(step.function), arguments).hex(),
        subject=subject,
    )


def call_data(artifact: Artifact, function: str, arguments: Sequence[str]) -> bytes:
    """Calldata for `function` of the contract, its arguments given as text."""
    return artifact.interface.encode(function, *typed(function_inputs(artifact, function, len(arguments)), arguments))


def typed(inputs: Sequence[Mapping[str, Any]], values: Sequence[str]) -> list[Any]:
    """Text values as the Python values of their ABI types. A missing last value is left out."""
    return [_typed(one["type"], value) for one, value in zip(inputs, values, strict=False)]


def named(inputs: Sequence[Mapping[str, Any]], values: Sequence[str]) -> dict[str, str]:
    """Arguments by name, as text."""
    return {one["name"].strip("_"): value for one, value in zip(inputs, values, strict=True)}


def constructor_inputs(artifact: Artifact) -> list[dict[str, Any]]:
    return next((list(one["inputs"]) for one in artifact.abi if one["type"] == "constructor"), [])


def function_inputs(artifact: Artifact, function: str, count: int) -> list[dict[str, Any]]:
    """The ABI inputs of the function with that many arguments. Raises KeyError if there is none."""
    return list(function_entry(artifact, function, count)["inputs"])


def function_entry(artifact: Artifact, function: str, count: int) -> dict[str, Any]:
    for entry in artifact.abi:
        if entry["type"] == "function" and entry["name"] == function and len(entry["inputs"]) == count:
            return entry
    raise KeyError(f"{artifact.name}.{function} with {count} arguments")


def _typed(kind: str, value: str) -> Any:
    return int(value) if kind.startswith(("uint", "int")) else value
