# SPDX-License-Identifier: Apache-2.0
"""The log that is settled: by default a million rows of 10,000 users. It is the same in every run."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Literal

from eth_utils.address import to_checksum_address

ROWS = 1_000_000
USERS = 10_000


def write_log(path: Path, rows: int, users: int, log_format: Literal["jsonl", "csv"] = "jsonl", seed: int = 1) -> None:
    """Write a log with heavy and light users."""
    chance = random.Random(seed)  # noqa: S311 - the same every time
    addresses = [to_checksum_address(chance.randbytes(20)) for _ in range(users)]
    names = ("request_id", "user", "time", "input_tokens", "output_tokens")
    with path.open("w") as file:
        if log_format == "csv":
            file.write(",".join(names) + "\n")
        for number in range(rows):
            user = addresses[number if number < users else int(users * chance.random() ** 2)]
            row = f"req-{number:010d}", user, 1_795_000_000 + number, chance.randrange(4000), chance.randrange(1000)
            if log_format == "csv":
                file.write("{},{},{},{},{}\n".format(*row))
            else:
                file.write(json.dumps(dict(zip(names, row, strict=True))) + "\n")
