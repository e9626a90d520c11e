# pragma version 0.4.3
# pragma evm-version cancun
"""
@title Initialised once
@notice A contract behind a front is initialised in the front's storage, once. The implementation itself locks
        itself when it is created, so that nobody can ever initialise it.
@dev How money is lost here: a front that is created and left uninitialised belongs to whoever initialises it first.
     How the owner prevents it: our deployment passes the initialisation as the front's creation data.
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
    @notice Whether `initialize` has run. False on an implementation, which is locked instead.
    """
    return self.version == INITIALIZED


@internal
def _begin():
    """
    @dev The first thing in `initialize`: reverts `AlreadyInitialized` when it ran before or never may.
    """
    if self.version != 0:
        errors._already_initialized()
    self.version = INITIALIZED


@internal
def _finish():
    """
    @dev The last thing in `initialize`: the live contracts emit `Initialized` after every other event.
    """
    log Initialized(version=INITIALIZED)
