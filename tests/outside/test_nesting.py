# SPDX-License-Identifier: Apache-2.0
"""The one check of nesting, compared with a count of one character after another."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from serving_network import untrusted
from serving_network.untrusted import parse_json, too_deep

LEVELS = 3


@pytest.fixture(autouse=True, scope="module")
def few_levels() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(untrusted, "MAX_NESTING", LEVELS)
        yield


def deepest(text: str) -> int:
    """The deepest level of brackets outside of texts."""
    depth = most = 0
    in_text = escaped = False
    for one in text:
        if in_text:
            escaped, in_text = one == "\\" and not escaped, escaped or one != '"'
        elif one == '"':
            in_text = True
        elif one in "[{":
            depth += 1
            most = max(most, depth)
        elif one in "]}":
            depth -= 1
    return most


def levels(value: Any) -> int:
    """The levels of a parsed value."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if inner is None else 1 + max(map(levels, inner), default=0)


@given(st.text('[]{}"\\a,:1 \n', max_size=60))
@example('"]]]]" [[[[')
@example('{"\\"": "]", "a": [[[[')
@example('"\\\\" [[[[')
def test_brackets_count_outside_of_texts_only(text: str) -> None:
    assert too_deep(text) is (deepest(text) > LEVELS)


json_values = st.recursive(
    st.text('[]{}"\\', max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("[]", max_size=3), inner, max_size=3),
)


@settings(max_examples=60)
@given(json_values)
def test_json_is_parsed_unless_it_is_nested_too_deep(value: Any) -> None:
    text = json.dumps(value)
    if levels(value) <= LEVELS:
        assert parse_json(text.encode()) == value
    else:
        with pytest.raises(ValueError, match="nested more than 3 deep"):
            parse_json(text)
