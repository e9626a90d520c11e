# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the settlement tests."""

from tests.settlement.virtual_time import virtual_time

__all__ = ["virtual_time"]
