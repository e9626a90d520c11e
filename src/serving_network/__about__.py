# SPDX-License-Identifier: Apache-2.0
"""The version of the package, read by the build and by `serving --version`."""

__version__ = "0.1.0"
