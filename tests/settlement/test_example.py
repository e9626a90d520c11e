# SPDX-License-Identifier: Apache-2.0
"""The example log is what its generator makes, and shows what it says it shows."""

from __future__ import annotations

from collections import Counter
from hashlib import sha256

import pytest

from serving_network.demo.example import (
    INPUT_PRICE,
    MINIMUM_FEE,
    OUTPUT_PRICE,
    REQUESTS,
    USERS,
    Part,
    log_lines,
    users,
)
from serving_network.messages.prices import Prices
from serving_network.messages.usage import Reject, UsageRow
from serving_network.usage_logs.reader import UsageLog

DIGEST = "afbae522b23dc1ff5359183cf2604906481128a2c4e38908450bfe7db9f8b2b1"


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> list[UsageRow]:
    log = tmp_path_factory.mktemp("example") / "usage.csv"
    log.write_text("".join(log_lines()), "utf-8")
    rejects: list[Reject] = []
    found = list(UsageLog(log).rows(rejects.append))
    assert not rejects
    return found


def test_the_log_is_the_same_every_time() -> None:
    assert sha256("".join(log_lines()).encode()).hexdigest() == DIGEST


def test_the_log_looks_like_a_day_of_production(rows: list[UsageRow]) -> None:
    assert len(rows) == REQUESTS >= 5000
    assert len({row.request_hash for row in rows}) == REQUESTS
    requests = Counter(row.user for row in rows)
    assert len(requests) == USERS == 120
    heaviest = [count for _, count in requests.most_common()]
    assert sum(heaviest[:12]) > REQUESTS * 0.4
    assert heaviest[-1] == 1
    assert (max(row.time for row in rows) - min(row.time for row in rows)) > 23 * 3600 * 10**6
    assert [row.time for row in rows] == sorted(row.time for row in rows)


def test_every_role_takes_part(rows: list[UsageRow]) -> None:
    owed: Counter[str] = Counter()
    for row in rows:
        owed[row.user] += sum(Prices(INPUT_PRICE, OUTPUT_PRICE).fees(row.input_tokens, row.output_tokens))
    cast = users()
    assert [user.address for user in cast if user.address not in owed] == []
    parts = Counter(user.part for user in cast)
    assert parts[Part.SHORT] >= 3 <= parts[Part.SMALL]
    assert parts[Part.REFUNDING] == parts[Part.UNACKNOWLEDGED] == 1
    for user in cast:
        assert (user.funds < owed[user.address]) == (user.part is Part.SHORT)
        assert (owed[user.address] < MINIMUM_FEE) == (user.part is Part.SMALL)
        assert user.funds >= 10**18
