# SPDX-License-Identifier: Apache-2.0
# pragma version 0.4.3
# pragma evm-version cancun
"""
@title What is proven of the front and its beacon
@notice Owner of one beacon with an attached front and one that is not attached. The implementations are contracts of
        one byte or two, so that what happens is the front's and the beacon's doing. Arguments of `check_` functions are
        any values at all.
"""

from . import cheats

BEACON: constant(Bytes[4096]) = x"00{UpgradeableBeacon}"
FRONT: constant(Bytes[4096]) = x"00{BeaconProxy}"
# @dev keccak256("eip1967.proxy.implementation") - 1
SLOT: constant(bytes32) = 0x360894a13ba1a3210667c828492db98dca3e2076cc3735a920a3ca505d382bbc

beacon: address
front: address
other: address
old: address
new: address


interface Beacon:
    def attach(front: address): nonpayable
    def upgradeTo(implementation: address): nonpayable
    def implementation() -> address: view
    def front() -> address: view
    def owner() -> address: view


@deploy
@payable
def __init__():
    # Contracts whose code is STOP, and ADDRESS and STOP.
    self.old = raw_create(x"6001600a5f3960015ff300")
    self.new = raw_create(x"6002600a5f3960025ff33000")
    self.beacon = raw_create(slice(BEACON, 1, len(BEACON) - 1), self.old)
    self.front = raw_create(slice(FRONT, 1, len(FRONT) - 1), self.beacon, b"")
    self.other = raw_create(slice(FRONT, 1, len(FRONT) - 1), self.beacon, b"")
    extcall Beacon(self.beacon).attach(self.front)


@external
def check_only_the_owner_upgrades(caller: address, which: uint256, to: address):
    """
    @notice upgradeTo, attach and every ownership function of a beacon revert for every caller but its owner, for all
    addresses.
    """
    assert caller != self and caller != cheats.VM and caller != empty(address)
    cheats._prank(caller)
    cheats._holds(not raw_call(self.beacon, self._owners(which, to), revert_on_failure=False))
    cheats._holds(staticcall Beacon(self.beacon).implementation() == self.old)
    cheats._holds(staticcall Beacon(self.beacon).front() == self.front)


@external
def check_the_owner_may_upgrade(which: uint256):
    """
    @notice The same calls succeed for the owner, so others are rejected because of who they are.
    """
    assert which != 0
    to: address = self.new
    if which == 2:
        to = self.other
    cheats._holds(raw_call(self.beacon, self._owners(which, to), revert_on_failure=False))


@external
def check_only_the_offered_owner_accepts_ownership(to: address, caller: address):
    """
    @notice Offered ownership of a beacon moves if the offered address accepts, whichever it is, and for no other
    caller.
    """
    assert caller != cheats.VM and caller != empty(address)
    raw_call(self.beacon, abi_encode(to, method_id=method_id("offerOwnership(address)")))
    cheats._prank(caller)
    accepted: bool = raw_call(self.beacon, method_id("acceptOwnership()"), revert_on_failure=False)
    cheats._holds(accepted == (caller == to))
    if accepted:
        cheats._holds(staticcall Beacon(self.beacon).owner() == to)
    else:
        cheats._holds(staticcall Beacon(self.beacon).owner() == self)


@external
def check_an_upgrade_reaches_the_attached_front_and_needs_code(to: address):
    """
    @notice upgradeTo writes the new implementation into the attached front immediately; an address without code is
    rejected.
    """
    extcall Beacon(self.beacon).upgradeTo(self.new)
    cheats._holds(self._held(self.front) == self.new)
    cheats._holds(staticcall Beacon(self.beacon).implementation() == self.new)
    cheats._holds(self._held(self.other) == empty(address))
    assert to.codesize == 0
    done: bool = raw_call(
        self.beacon, abi_encode(to, method_id=method_id("upgradeTo(address)")), revert_on_failure=False
    )
    cheats._holds(not done)


@external
def check_only_the_beacon_sets_the_implementation_of_a_front(
    caller: address, word: uint256, more: uint256, which: uint256
):
    """
    @notice A call of a front by anybody, including the owner of its beacon, with any data of 0, 32 or 64 bytes does not
    change its implementation.
    """
    assert caller != self.beacon and caller != cheats.VM
    data: Bytes[64] = b""
    if which == 1:
        data = abi_encode(word)
    elif which == 2:
        data = abi_encode(word, more)
    cheats._prank(caller)
    done: bool = raw_call(self.front, data, revert_on_failure=False)
    cheats._holds(done)
    cheats._holds(self._held(self.front) == self.old)


@external
def check_only_fronts_of_this_beacon_are_attached(which: uint256):
    """
    @notice A contract that is not a front, a front of another beacon and an address without code cannot be attached;
    attaching another front detaches the first.
    """
    foreign: address = raw_create(slice(BEACON, 1, len(BEACON) - 1), self.old)
    to: address = raw_create(slice(FRONT, 1, len(FRONT) - 1), foreign, b"")
    if which == 1:
        to = self.new
    elif which == 2:
        to = 0x5000000000000000000000000000000000000001
    done: bool = raw_call(
        self.beacon, abi_encode(to, method_id=method_id("attach(address)")), revert_on_failure=False
    )
    cheats._holds(not done)
    extcall Beacon(self.beacon).attach(self.other)
    cheats._holds(self._held(self.other) == self.old and self._held(self.front) == empty(address))


@external
def check_planted_an_upgrade_changes_nothing():
    """
    @notice False on purpose: the attached front runs the new code.
    """
    extcall Beacon(self.beacon).upgradeTo(self.new)
    cheats._holds(self._held(self.front) == self.old)


@internal
@pure
def _owners(which: uint256, to: address) -> Bytes[36]:
    if which == 0:
        return method_id("acceptOwnership()")
    if which == 1:
        return abi_encode(to, method_id=method_id("upgradeTo(address)"))
    if which == 2:
        return abi_encode(to, method_id=method_id("attach(address)"))
    if which == 3:
        return abi_encode(to, method_id=method_id("transferOwnership(address)"))
    if which == 4:
        return abi_encode(to, method_id=method_id("offerOwnership(address)"))
    return method_id("renounceOwnership()")


@internal
def _held(front: address) -> address:
    return convert(cheats._load(front, convert(SLOT, uint256)), address)
