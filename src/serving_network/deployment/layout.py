# SPDX-License-Identifier: Apache-2.0
"""Compare two storage layouts, and find the words that a new implementation would misread.

A layout is what the compiler reports for a contract (`storageLayout` of an artifact), and what it does not report: the
fields of every struct, the members of every flag, and the bits of packed words, as declared in the source:

    {
      "storage_layout": {"accounts": {"words": {"type": "HashMap[bytes32, uint256]", "slot": 4, "n_slots": 1}}},
      "packed":  {"accounts.words": [["balance", 93], ["pendingRefund", 93], ["nonce", 64]]},
      "structs": {"Refund": {"amount": "uint256", "createdAt": "uint256"}},
      "flags":   {"Mode": ["OFF", "ON"]}
    }

Appending is the only change that keeps the meaning of every stored word: a variable after the last one, a field
in the free high bits of a packed word, a field at the end of a struct that only a mapping holds, a member at the end
of a flag. Everything else is a `Refusal`.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

WORD_BITS = 256

Kind = Literal["moved", "inserted", "removed", "renamed", "retyped", "repacked"]


@dataclass(frozen=True)
class Variable:
    """One storage variable. `slot` is its first word, `slots` how many consecutive words it takes."""

    name: str
    type: str
    slot: int
    slots: int

    @property
    def end(self) -> int:
        return self.slot + self.slots


@dataclass(frozen=True)
class Refusal:
    """A change that must not be deployed: `variable` names the word, `reason` says what would happen to it."""

    kind: Kind
    variable: str
    reason: str

    def __str__(self) -> str:
        return f"{self.variable} {self.kind}: {self.reason}"


@dataclass(frozen=True)
class Layout:
    """A contract's persistent storage, variables in slot order."""

    variables: tuple[Variable, ...]
    packed: Mapping[str, tuple[tuple[str, int], ...]]
    structs: Mapping[str, tuple[tuple[str, str], ...]]
    flags: Mapping[str, tuple[str, ...]]

    @classmethod
    def from_artifact(cls, layout: Mapping[str, Any]) -> "Layout":
        """Read an artifact's `storageLayout`. Raises ValueError when two variables share a slot or a packed word
        declares more than 256 bits."""
        variables = sorted(_variables(layout.get("storage_layout", {})), key=lambda one: one.slot)
        for before, after in pairwise(variables):
            if after.slot < before.end:
                raise ValueError(f"{before.name} and {after.name} share slot {after.slot}")
        packed = {
            name: tuple((str(field), int(bits)) for field, bits in fields)
            for name, fields in layout.get("packed", {}).items()
        }
        for name, fields in packed.items():
            if sum(bits for _, bits in fields) > WORD_BITS:
                raise ValueError(f"{name} declares more than {WORD_BITS} bits")
        return cls(
            variables=tuple(variables),
            packed=packed,
            structs={name: tuple(fields.items()) for name, fields in layout.get("structs", {}).items()},
            flags={name: tuple(members) for name, members in layout.get("flags", {}).items()},
        )


def compare(old: Layout, new: Layout, renames: Mapping[str, str] | None = None) -> list[Refusal]:
    """Every change from `old` to `new` that moves or reinterprets stored data, in slot order. Empty: safe.

    `renames` maps an old name to a new one (a variable, or `variable.field` of a packed word) where the operator
    confirms that only the name has changed.
    """
    renamed = dict(renames or {})
    refusals: list[Refusal] = []
    by_name = {one.name: one for one in new.variables}
    by_slot = {one.slot: one for one in new.variables}
    kept: set[str] = set()
    for before in old.variables:
        after = by_name.get(renamed.get(before.name, before.name))
        if after is None:
            refusals.append(_gone(before, by_slot.get(before.slot), old))
            if (squatter := by_slot.get(before.slot)) is not None:
                kept.add(squatter.name)
            continue
        kept.add(after.name)
        if after.slot != before.slot:
            refusals.append(Refusal("moved", before.name, f"from slot {before.slot} to slot {after.slot}"))
        elif after.type != before.type:
            refusals.append(
                Refusal(
                    "retyped", before.name, f"slot {before.slot} holds {before.type} and would be read as {after.type}"
                )
            )
        refusals += _packed(before, after, old, new, renamed)
    end = max((one.end for one in old.variables), default=0)
    refusals += [
        Refusal(
            "inserted",
            one.name,
            f"takes slot {one.slot}, which lies among the {end} slots already in use; "
            "declare it after the last variable",
        )
        for one in new.variables
        if one.name not in kept and one.slot < end
    ]
    return [*refusals, *_structs(old, new), *_flags(old, new)]


def _variables(tree: Mapping[str, Any], prefix: str = "") -> Iterator[Variable]:
    for name, node in tree.items():
        if "slot" in node and "type" in node:
            yield Variable(prefix + name, str(node["type"]), int(node["slot"]), int(node["n_slots"]))
        else:
            yield from _variables(node, f"{prefix}{name}.")


def _gone(before: Variable, squatter: Variable | None, old: Layout) -> Refusal:
    taken = squatter is not None and squatter.name not in {one.name for one in old.variables}
    if squatter is not None and taken and squatter.type == before.type:
        return Refusal(
            "renamed",
            before.name,
            f"slot {before.slot} is now called {squatter.name}; if it means the "
            f"same, say so with --rename {before.name}={squatter.name}",
        )
    return Refusal(
        "removed",
        before.name,
        f"slot {before.slot} ({before.type}) has no place in the new layout; keep an unused variable where it was",
    )


def _packed(
    before: Variable, after: Variable, old: Layout, new: Layout, renames: Mapping[str, str]
) -> Iterator[Refusal]:
    was, now = old.packed.get(before.name), new.packed.get(after.name)
    if was == now:
        return
    if was is None or now is None:
        yield Refusal("repacked", before.name, f"its bit layout was {_bits(was)} and would be {_bits(now)}")
        return
    low = 0
    for index, (field, bits) in enumerate(was):
        name = f"{before.name}.{field}"
        expected = (renames.get(name, name).removeprefix(f"{after.name}."), bits)
        found = now[index] if index < len(now) else None
        if found != expected:
            place = f"bits {low} to {low + bits - 1}"
            becomes = f"{found[0]} with {found[1]} bits" if found else "unused"
            yield Refusal("repacked", name, f"{place} would become {becomes}")
            return
        low += bits


def _bits(fields: tuple[tuple[str, int], ...] | None) -> str:
    return "undeclared" if fields is None else ", ".join(f"{name}:{bits}" for name, bits in fields)


def _structs(old: Layout, new: Layout) -> Iterator[Refusal]:
    for name, was in old.structs.items():
        holders = [one.name for one in old.variables if _mentions(one.type, name, old)]
        if not holders:
            continue
        now = new.structs.get(name)
        where = ", ".join(holders)
        if now is None:
            yield Refusal("retyped", name, f"the struct stored in {where} is gone")
        elif now[: len(was)] != was:
            field, kind = next((b for b, a in zip(was, [*now, *[("", "")] * len(was)], strict=False) if a != b))
            yield Refusal(
                "retyped",
                f"{name}.{field}",
                f"the struct stored in {where} had {field}: {kind} here and "
                f"is now {', '.join(f'{f}: {t}' for f, t in now)}",
            )
        elif len(now) > len(was) and (
            tight := [
                one.name for one in old.variables if _mentions(one.type, name, old) and not _ends_in(one.type, name)
            ]
        ):
            yield Refusal(
                "retyped",
                name,
                f"it grew by {', '.join(f for f, _ in now[len(was) :])} and sits side by "
                f"side with other data in {', '.join(tight)}",
            )


def _flags(old: Layout, new: Layout) -> Iterator[Refusal]:
    for name, was in old.flags.items():
        now = new.flags.get(name)
        if now is not None and now[: len(was)] != was:
            yield Refusal(
                "retyped",
                name,
                f"its members were {', '.join(was)} and are now {', '.join(now)}, so "
                "stored values change their meaning",
            )


def _mentions(kind: str, struct: str, layout: Layout, seen: frozenset[str] = frozenset()) -> bool:
    words = set(re.findall(r"[A-Za-z_]\w*", kind)) - seen
    if struct in words:
        return True
    return any(
        _mentions(field, struct, layout, seen | words)
        for word in words
        if word in layout.structs
        for _, field in layout.structs[word]
    )


def _ends_in(kind: str, struct: str) -> bool:
    """Whether a mapping's own value is the struct, so that its slots have nothing behind them."""
    while (inside := re.fullmatch(r"HashMap\[(?:[^\[\],]|\[[^\]]*\])+, (.*)\]", kind)) is not None:
        kind = inside.group(1)
        if kind == struct:
            return True
    return False
