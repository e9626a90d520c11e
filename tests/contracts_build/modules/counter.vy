# SPDX-License-Identifier: Apache-2.0
# pragma version 0.4.3
"""
@title A module with a packed word of its own
"""

# @custom:packed _calls count:64, spare:192
_calls: uint256


@internal
def _count():
    if self._calls == 2**64 - 1:
        raw_revert(method_id("Full()"))
    self._calls += 1


@internal
def _never_called():
    raw_revert(method_id("Four()"))
