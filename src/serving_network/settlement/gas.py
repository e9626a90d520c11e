# SPDX-License-Identifier: Apache-2.0
"""The gas that a settlement may need beyond its estimate.

Users can change the gas cost of their rows until the settlement is mined. A row whose account has too little free
balance cancels pending refunds, newest first, at most five. Any account can be brought into that state:
`transferFund` cancels refunds, each `retrieveFund` requests one, and `transferFund` reopens and acknowledges an
account. The refunds pending at the time of the estimate therefore do not bound the worst case, and every row gets the
same margin.
"""

from __future__ import annotations

from typing import Final

ROW_MARGIN: Final = 13_380
"""The maximum gas that one row can need above its share of the estimate, in terms of the transaction's gas limit.

The most expensive row cancels four refunds in full and reduces the oldest: 13,170 gas in `settleFeesWithTEE` and
13,158 in `settleBatchWithTEE`, of which 6,300 read three cold slots and 2,900 write one. No other state costs more: a
row that is paid in part cancels five refunds in full and writes none. Gas refunds do not lower the figure, because no
slot is cleared. The front forwards 63/64 of its gas, so the limit has to grow by 64/63 of 13,170: 13,379.05.

Measured on the compiled contracts under Cancun rules; `pytest tests/gas/test_row_margin.py` repeats the measurement.
"""


def worst_case_gas(rows: int) -> int:
    """The gas to add to the estimate of a settlement with this many rows, in either form.

    Valid only for estimates in which every row is paid. A row that is refused or paid nothing costs less in the
    estimate, but may be paid when mined. Estimate at the block of the preview, and send only rows that the preview
    pays.
    """
    return rows * ROW_MARGIN
