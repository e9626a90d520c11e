# SPDX-License-Identifier: Apache-2.0
"""The reasons why a contract cannot be built."""


class BuildError(Exception):
    """A source breaks a rule of this repository; `str(error)` says what to change."""


class AssemblyError(BuildError):
    """A listing is invalid; `str(error)` names the line."""


class SignatureError(BuildError):
    """A line is not a valid ABI entry."""


class TableError(BuildError):
    """contracts.toml contradicts the compiled contract."""


class CompilerMismatch(BuildError):
    """The installed compiler is not the pinned version."""


class LayoutError(BuildError):
    """The declaration of a packed word is invalid."""


class DuplicateName(BuildError):
    """Two sources of a contract have the same name."""
