# SPDX-License-Identifier: Apache-2.0
"""Why a contract could not be built."""


class BuildError(Exception):
    """The sources are not as this repository demands; `str(error)` says what to change."""


class AssemblyError(BuildError):
    """A listing is not one: names its line."""


class SignatureError(BuildError):
    """A line is not an entry of an ABI."""


class TableError(BuildError):
    """contracts.toml says something else than the compiled contract."""


class CompilerMismatch(BuildError):
    """Another compiler is installed than the pinned one."""


class LayoutError(BuildError):
    """A packed word is not declared as it should be."""
