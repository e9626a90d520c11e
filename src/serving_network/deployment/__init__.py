# SPDX-License-Identifier: Apache-2.0
"""Deploy, check, upgrade, verify, hand over and watch a network, and remember what was done.

`serving up` and a live network go through the same steps (`steps`), sent by the same engine (`engine`) and kept in the
same kind of record (`record`).
"""
