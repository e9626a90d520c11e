# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the settlement tests."""

from tests.settlement.virtual_time import virtual_time
from tests.store_fixtures import location, postgres

__all__ = ["location", "postgres", "virtual_time"]
