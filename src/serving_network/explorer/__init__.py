# SPDX-License-Identifier: Apache-2.0
"""The explorer of a network: an index of its contracts' events in a database, and web pages that show it."""
