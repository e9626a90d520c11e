# SPDX-License-Identifier: Apache-2.0
"""A small tokenizer, made on the spot: a token for each word or mark, and one that begins each text."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import tokenizers

TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}<{{ message.role }}> {{ message.content }} </s> {% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)
"""Writes the start, three tokens for each role, one for each end of a message, and three for the answer's start."""


def make_tokenizer(folder: Path, template: str | None = None, **config: Any) -> Path:
    """The path of a tokenizer.json, with a chat template beside it if one is given."""
    start = "<s>"
    made = tokenizers.Tokenizer(tokenizers.models.WordLevel({"[UNK]": 0, start: 1, "</s>": 2}, unk_token="[UNK]"))
    made.add_special_tokens([start, "</s>"])
    made.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    made.post_processor = tokenizers.processors.TemplateProcessing(
        single=f"{start} $A", pair=None, special_tokens=[(start, 1)]
    )
    folder.mkdir(exist_ok=True)
    path = folder / "tokenizer.json"
    made.save(str(path))
    if template is not None:
        content = {"bos_token": {"content": start}, "chat_template": template} | config
        folder.joinpath("tokenizer_config.json").write_text(json.dumps(content))
    return path
