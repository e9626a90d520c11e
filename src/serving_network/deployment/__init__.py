# SPDX-License-Identifier: Apache-2.0
"""Deploy, check, upgrade, verify, transfer and monitor a network, and record what was done.

The local network and a live one go through the same plans (`plan`), sent by the same engine (`engine`) and kept in the
same kind of record (`record`).
"""
