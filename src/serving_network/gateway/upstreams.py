# SPDX-License-Identifier: Apache-2.0
"""The settings of the model servers: the table [[upstreams]], once for each server.

[[upstreams]]
url = "http://127.0.0.1:8000/v1"
headers = { Authorization = "Bearer KEY" }
weight = 2
model = "NAME"
max_concurrency = 64
continuous_usage = true
tokenizer = "/path/to/tokenizer.json"
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any
from urllib.parse import urlsplit

from serving_network.untrusted import printable


@dataclass(frozen=True)
class UpstreamSettings:
    """One model server.

    `url` is its base with /v1, `headers` are sent with each request, and `model` is its name for the service's model.
    A server of weight 2 gets twice as many requests as one of weight 1, but never more than `max_concurrency` at once.
    `continuous_usage`: it reports the usage in every chunk of a stream if asked, as vLLM and SGLang do; by default the
    gateway finds out when it starts. `tokenizer`: the model's tokenizer.json, which counts what the server does not
    report.
    """

    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    weight: int = 1
    model: str | None = None
    max_concurrency: int = 256
    continuous_usage: bool | None = None
    tokenizer: str | None = None


def read_upstreams(tables: Any) -> tuple[UpstreamSettings, ...]:
    """The servers of [[upstreams]]. Raises ValueError, which says what is wrong."""
    if not isinstance(tables, list) or not tables or not all(isinstance(one, dict) for one in tables):
        raise ValueError("upstreams is not a list of tables")
    known = {one.name for one in fields(UpstreamSettings)}
    for place, table in enumerate(tables, 1):
        where = f"upstreams, table {place}"
        if unknown := sorted(table.keys() - known):
            raise ValueError(f"{where}: {', '.join(map(printable, unknown))} unknown")
        if "url" not in table:
            raise ValueError(f"{where}: url missing")
        for name, value in table.items():
            if not _fits(name, value):
                raise ValueError(f"{where}: {name} cannot be {printable(str(value))}")
    return tuple(UpstreamSettings(**table) for table in tables)


def is_base_url(value: Any) -> bool:
    """Whether this is the base URL of a model server."""
    if not isinstance(value, str):
        return False
    try:
        parts = urlsplit(value)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname)


def are_headers(value: Any) -> bool:
    """Whether this is a table of HTTP headers."""
    return isinstance(value, dict) and all(
        isinstance(one, str) and one.isprintable() for one in (*value.keys(), *value.values())
    )


def _fits(name: str, value: Any) -> bool:
    match name:
        case "url":
            return is_base_url(value)
        case "headers":
            return are_headers(value)
        case "weight" | "max_concurrency":
            return type(value) is int and 0 < value <= 1_000_000
        case "continuous_usage":
            return isinstance(value, bool)
        case _:
            return isinstance(value, str) and bool(value)
