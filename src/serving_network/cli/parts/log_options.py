# SPDX-License-Identifier: Apache-2.0
"""The options that say how a usage log is read."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from serving_network.errors import InvalidInput
from serving_network.usage_logs.columns import Columns, load_columns, preset, presets
from serving_network.usage_logs.reader import Format

Texts = list[str] | None
MAPPING = Annotated[
    Texts,
    typer.Option(
        "--map",
        help="Map a column: FIELD=COLUMN, such as input_tokens=ContextTokens or id=@row. A|B is the first with a value,"
        " A+B the sum.",
    ),
]
COLUMNS = Annotated[Path | None, typer.Option(help="A TOML file that maps the columns.")]
PRESET_HELP = (
    "The tool that wrote the log: litellm, openrouter, langfuse, openai, openai-batch, new-api, vllm, ollama, burstgpt,"
    " mooncake, azure or 0g-broker."
)
PRESET = Annotated[str | None, typer.Option(help=PRESET_HELP, autocompletion=lambda: list(presets()))]
SKIP = Annotated[Texts, typer.Option(help="Leave out rows with a value in a column: COLUMN=VALUE.")]
ONLY = Annotated[Texts, typer.Option(help="Leave out all rows but those with a value in a column: COLUMN=VALUE.")]
IGNORE = Annotated[Texts, typer.Option(help="Do not read a column, such as a fee that is not in wei.")]
USER = Annotated[str, typer.Option("--user", help="The user of all rows: an address, or a name in --users.")]
ROWS = Annotated[str, typer.Option(help="The path to the array of rows in a JSON document, such as data.items.")]
START = Annotated[str, typer.Option(help="The time that the times of the log are offsets from.")]
TIME_UNIT = Annotated[str, typer.Option(help="The unit of these offsets: s, ms, us or ns. Default: s.")]
LAST_OF_STREAM = Annotated[
    bool, typer.Option("--last-of-stream", help="Of rows with one id and growing usage, take the last.")
]
ID_WITH_TIME = Annotated[bool, typer.Option("--id-with-time", help="Take an id with another time as another request.")]


def columns_of(
    file: Path | None, tool: str | None, mapping: Texts, lists: dict[str, Texts], others: dict[str, Any]
) -> Columns:
    """The columns of a preset or a file, changed by the options. Raises InvalidInput and ConfigurationError."""
    if file is not None and tool is not None:
        raise InvalidInput("--columns and --preset exclude each other.", next_step="Change the preset with --map.")
    columns = preset(tool) if tool is not None else load_columns(file) if file is not None else Columns()
    given = {name: value for name, value in others.items() if value}
    given |= {name: (*getattr(columns, name), *values) for name, values in lists.items() if values}
    return replace(columns, **given).with_assignments(mapping or [])


def format_of(text: str | None) -> Format | None:
    """The log format that --format names. Raises InvalidInput."""
    match text:
        case None | "jsonl" | "csv" | "json":
            return text
    raise InvalidInput(f"{text!r} is not a log format.", next_step="Use --format jsonl, --format csv or --format json.")
