# SPDX-License-Identifier: Apache-2.0
"""A reconciliation's result as text in the index."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from serving_network.explorer.index.found import Checked, Coins, Difference


def checked_as_text(checked: Checked) -> str:
    """The result as JSON. Wei are decimal text."""
    content = asdict(checked)
    for line in content["coins"]:
        line |= {"held": str(line["held"]), "owed": str(line["owed"])}
    return json.dumps(content)


def checked_from(text: str) -> Checked:
    """The result in a JSON text that `checked_as_text` wrote."""
    content: dict[str, Any] = json.loads(text)
    return Checked(
        **content
        | {
            "differences": tuple(Difference(**one) for one in content["differences"]),
            "coins": tuple(
                Coins(one["contract"], one["name"], int(one["held"]), int(one["owed"])) for one in content["coins"]
            ),
            "unanswered": tuple(content["unanswered"]),
        }
    )
