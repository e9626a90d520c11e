# SPDX-License-Identifier: Apache-2.0
# pragma version 0.4.3
# pragma evm-version cancun
"""
@title One-time initialization
@custom:contract-name initializable
@license Apache-2.0
@author Serving Network maintainers
@notice A contract behind a front is initialized once, in the front's storage. An implementation locks itself in its
        constructor, so it can never be initialized.
@dev @custom:risk A front that was created and not initialized belongs to the first caller of `initialize`.
@custom:mitigation Our deployment initializes a front in its creation.
"""

from . import errors

event Initialized:
    version: uint8


INITIALIZED: constant(uint8) = 1
LOCKED: constant(uint8) = 255

version: uint8


@deploy
def __init__():
    self.version = LOCKED
    log Initialized(version=LOCKED)


@external
@view
def initialized() -> bool:
    """
    @notice Returns whether `initialize` has run. False on an implementation, which is locked.
    """
    return self.version == INITIALIZED


@internal
def _begin():
    """
    @dev First statement of `initialize`. Reverts with `AlreadyInitialized` if the contract is initialized or locked.
    """
    if self.version != 0:
        errors._already_initialized()
    self.version = INITIALIZED


@internal
def _finish():
    """
    @dev Last statement of `initialize`: the live contracts emit `Initialized` after all other events.
    """
    log Initialized(version=INITIALIZED)
