"""The gas that a settlement may need beyond its estimate.

Until a settlement is mined, its users can change what their rows cost. A row that finds too little free balance takes
refunds back, newest first, at most five. Any account can be brought to that state from any other: `transferFund`
cancels refunds, each `retrieveFund` requests one, and `transferFund` opens and acknowledges an account again. The
refunds of an account at the time of the estimate therefore say nothing about the worst case, and every row has the same
margin.
"""

from __future__ import annotations

from typing import Final

ROW_MARGIN: Final = 13_380
"""The most that one row can need above its share of the estimate, in gas of the transaction's limit.

The dearest row takes four refunds whole and cuts the oldest: 13,170 gas in `settleFeesWithTEE` and 13,158 in
`settleBatchWithTEE`, of which 6,300 read three cold slots and 2,900 write one. No other state costs more: a row that is
paid in part takes five refunds whole and writes none. Storage refunds do not lower the figure, because no slot is
cleared. The front forwards 63/64 of its gas, so that the limit grows by 64/63 of that: 13,379.05.

Measured on the compiled contracts under cancun rules; `pytest tests/gas/test_row_margin.py` measures it again.
"""


def worst_case_gas(rows: int) -> int:
    """Gas to add to the estimate of a settlement with this many rows, in either form.

    It holds for estimates that pay every row. A row that the estimate refuses, or pays nothing for, costs less there
    and may be paid when it is mined: estimate at the block of the preview, and send only what the preview pays.
    """
    return rows * ROW_MARGIN
