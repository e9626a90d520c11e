# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the tests that run on both stores."""

from tests.store_fixtures import location, postgres

__all__ = ["location", "postgres"]
