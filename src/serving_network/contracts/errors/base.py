# SPDX-License-Identifier: Apache-2.0
"""The base of the contract errors: signatures, decoded fields, and messages."""

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar, NewType, dataclass_transform

from serving_network.errors import ContractError
from serving_network.hashing import keccak
from serving_network.money import Wei, describe

if TYPE_CHECKING:
    from eth_typing import ChecksumAddress
else:
    ChecksumAddress = str  # eth-typing takes longer to import than all errors

Seconds = NewType("Seconds", int)


@dataclass_transform(eq_default=False)
class DeclaredError(ContractError):
    """An error that a contract of the network declares.

    A subclass lists its signatures in `wire`, with argument names, and annotates one field per argument: `Wei` for
    amounts, `Seconds` for durations, `ChecksumAddress` for addresses, int or str otherwise. `problem` and `remedy` are
    format strings, in which "{field}" stands for the field in readable form.
    """

    wire: ClassVar[tuple[str, ...]] = ()
    problem: ClassVar[str] = ""
    remedy: ClassVar[str] = ""

    def __init_subclass__(cls) -> None:
        dataclass(eq=False, repr=False)(cls)

    def __init__(self) -> None:
        self.__post_init__()

    def __post_init__(self) -> None:
        texts = {field.name: readable(field.type, getattr(self, field.name)) for field in fields(self)}  # type: ignore[arg-type]
        super().__init__(self.problem.format(**texts), next_step=self.remedy.format(**texts) or None)

    def as_dict(self) -> dict[str, Any]:
        values = {field.name: getattr(self, field.name) for field in fields(self)}  # type: ignore[arg-type]
        return super().as_dict() | {"arguments": {name: value for name, value in values.items() if value is not None}}


def readable(kind: object, value: object) -> str:
    """A field's value in readable form: wei as coins, seconds with hours, everything else unchanged."""
    if kind is Wei and isinstance(value, int):
        return describe(value)
    if kind is Seconds and isinstance(value, int):
        return f"{value} s ({value / 3600:.4g} h)"
    return str(value)


@dataclass(frozen=True)
class Signature:
    """One parsed entry of `wire`: "Name(type argument, ...)"."""

    name: str
    types: tuple[str, ...]
    arguments: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> "Signature":
        name, _, rest = text.partition("(")
        pairs = [pair.split() for pair in rest.removesuffix(")").split(",") if pair]
        return cls(name, tuple(kind for kind, _ in pairs), tuple(argument for _, argument in pairs))

    @property
    def selector(self) -> bytes:
        """The first four bytes of the revert data."""
        return keccak(f"{self.name}({','.join(self.types)})".encode())[:4]


__all__ = ["ChecksumAddress", "DeclaredError", "Seconds", "Signature", "Wei", "readable"]
