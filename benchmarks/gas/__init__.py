# SPDX-License-Identifier: Apache-2.0
"""What every operation costs, measured as a receipt would say it: on an EVM in the process, through the real fronts."""
