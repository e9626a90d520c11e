"""The tests' EVM on the embedded chain's interpreter: the same gas in a third of the time, and every instruction can be
watched."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from eth.vm.forks.cancun.computation import CancunComputation
from eth.vm.forks.cancun.state import CancunState
from eth_typing import Hash32

from serving_network.chain.embedded.interpreter import Computation
from tests.evm import Evm


@cache
def _state_with(computation: type[CancunComputation]) -> type[CancunState]:
    return type("State", (CancunState,), {"computation_class": computation})


class QuickEvm(Evm):
    """Behaves like the tests' EVM."""

    def __init__(self) -> None:
        super().__init__()
        self._interpret(Computation)

    def _interpret(self, computation: type[CancunComputation]) -> None:
        root, *_ = self.snapshot()
        self._state = _state_with(computation)(self._database, self._context, Hash32(root))

    @contextmanager
    def interpreted_by(self, computation: type[CancunComputation]) -> Iterator[None]:
        """Transactions inside run on this class."""
        self._interpret(computation)
        try:
            yield
        finally:
            self._interpret(Computation)
