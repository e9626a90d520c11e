# SPDX-License-Identifier: Apache-2.0
"""The gas of every operation, as in a receipt: measured on an EVM in this process, through the real fronts."""
