# SPDX-License-Identifier: Apache-2.0
"""A decentralised AI serving network: contracts, a local chain, and tools for its users, providers and owners."""
