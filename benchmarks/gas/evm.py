# SPDX-License-Identifier: Apache-2.0
"""The tests' EVM, with a hook for every instruction."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from eth.vm.forks.cancun.computation import CancunComputation

from tests.evm import Evm


class QuickEvm(Evm):
    """Behaves like the tests' EVM."""

    @contextmanager
    def interpreted_by(self, computation: type[CancunComputation]) -> Iterator[None]:
        """Transactions inside run on this class."""
        usual, self._computation = self._computation, computation
        try:
            yield
        finally:
            self._computation = usual
