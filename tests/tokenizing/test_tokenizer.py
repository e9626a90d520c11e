# SPDX-License-Identifier: Apache-2.0
"""Tokens of texts and of chats, as the files of a model say."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from serving_network.tokenizing import tokenizer as tokenizer_module
from serving_network.tokenizing.tokenizer import Tokenizer, TokenizerUnusable, load_tokenizer
from tests.tokenizing.making import TEMPLATE, make_tokenizer

CHAT = [{"role": "system", "content": "be kind"}, {"role": "user", "content": "one two three"}]


def test_a_text(tmp_path: Path) -> None:
    found = load_tokenizer(make_tokenizer(tmp_path))
    assert found.count("one two three") == 3
    assert found.count("one two three", special=True) == 4
    assert not found.has_template


def test_a_chat_without_a_template_has_a_fixed_overhead(tmp_path: Path) -> None:
    found = load_tokenizer(make_tokenizer(tmp_path))
    assert found.count_chat(CHAT) == 5 + 2 * 3 + 3
    call: dict[str, Any] = {"id": "a b c", "type": "function", "function": {"name": "look", "arguments": {"to": "up"}}}
    assert found.count_chat([{"role": "assistant", "content": None, "tool_calls": [call]}]) == 2 + 3 + 3
    assert found.count_chat(CHAT, [{"name": "look"}]) == found.count_chat(CHAT) + found.count('[{"name": "look"}]')


@pytest.mark.parametrize("named", [False, True])
def test_a_chat_in_its_template(tmp_path: Path, named: bool) -> None:
    template: Any = [{"name": "tool", "template": ""}, {"name": "default", "template": TEMPLATE}] if named else TEMPLATE
    found = load_tokenizer(make_tokenizer(tmp_path, template))
    assert found.has_template
    assert found.count_chat(CHAT) == 1 + (3 + 2 + 1) + (3 + 3 + 1) + 3


def test_a_template_in_a_file_of_its_own_comes_first(tmp_path: Path) -> None:
    path = make_tokenizer(tmp_path, TEMPLATE)
    file = tmp_path / "chat_template.jinja"
    file.write_text("{%- generation -%}one two{% endgeneration %} {{ tools | tojson }} {{ thinking }}")
    assert load_tokenizer(path).count_chat(CHAT, ["a"], {"thinking": "yes"}) == 2 + 3 + 1


@pytest.mark.parametrize(
    "template",
    [
        "{{ raise_exception('roles must alternate') }}",
        "{{ messages.__class__.__mro__[1].__subclasses__() }}",
        "{{ messages.append(1) }}",
        "{{ messages[0].content + 1 }}",
    ],
)
def test_a_chat_that_its_template_refuses_counts_as_without_one(tmp_path: Path, template: str) -> None:
    """A template can neither reach into Python nor change what it is given."""
    assert load_tokenizer(make_tokenizer(tmp_path, template)).count_chat(CHAT) == 5 + 2 * 3 + 3


def test_a_long_text_is_counted_in_pieces_and_rounded_down(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokenizer_module, "PIECE", 10)
    words = Tokenizer(lambda text, _: len(text.split()))
    text = "abc " * 100
    assert 0 <= 100 - words.count(text) <= len(text) / 10


def test_the_library_and_the_files_must_be_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = make_tokenizer(tmp_path, "{% for %}")
    with pytest.raises(TokenizerUnusable, match=r"tokenizer_config.json is not a chat template"):
        load_tokenizer(path)
    path.write_text("{}")
    with pytest.raises(TokenizerUnusable, match="not a tokenizer"):
        load_tokenizer(path)
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(TokenizerUnusable, match="not installed"):
        load_tokenizer(path)
