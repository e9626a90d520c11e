# SPDX-License-Identifier: Apache-2.0
# pragma version 0.4.3
# pragma evm-version cancun
"""
@title Providers: stake, TEE signer and list
@custom:contract-name services
@license Apache-2.0
@author Serving Network maintainers
@notice A provider registers with a stake, which is returned in full when the service is removed. The contract's owner
        acknowledges the provider's TEE signer. Each service decides which changes revoke that acknowledgement.

        One word holds what a settlement needs to know about a provider; a second word holds what only readers need:

            255            254          160 159       0
            [ acknowledged:1 | stake:95      | signer:160 ]

            255      192 191         160 159     0
            [ extra:64 | position:32    | text:160  ]

        signer        signs the provider's settlements
        stake         wei; not zero if and only if the provider has a service
        acknowledged  the owner has acknowledged the signer
        text          the blob with the service's strings
        position      position in the list of services
        extra         defined by the service

@dev @custom:risk If the owner acknowledges a signer that is not a TEE, the provider can take its users' balances with
     it. `acknowledgeTEESignerByOwner` with the expected signer cannot be front-run by a change of the signer; other
     terms may still change just before it. Anybody can register another provider's signer: that a signer is a TEE is
     not enough, it must belong to this provider.
@custom:mitigation `revokeTEESignerAcknowledgement` takes effect at the next settlement.
"""

from . import errors
from . import lists
from . import ownable

uses: lists
uses: ownable


event ProviderStaked:
    provider: indexed(address)
    amount: uint256


event ProviderStakeReturned:
    provider: indexed(address)
    amount: uint256


event ProviderTEESignerAcknowledged:
    provider: indexed(address)
    teeSignerAddress: indexed(address)
    acknowledged: bool


SIGNER_MASK: constant(uint256) = 2**160 - 1
STAKE_OFFSET: constant(uint256) = 160
STAKE_MASK: constant(uint256) = 2**95 - 1
ACKNOWLEDGED_OFFSET: constant(uint256) = 255
ACKNOWLEDGED: constant(uint256) = 2**255

TEXT_MASK: constant(uint256) = 2**160 - 1
POSITION_OFFSET: constant(uint256) = 160
POSITION_MASK: constant(uint256) = 2**32 - 1
EXTRA_OFFSET: constant(uint256) = 192

LIST: constant(uint256) = 3 << 160

# @notice The minimum stake in wei, fixed when the implementation is deployed.
MIN_PROVIDER_STAKE: public(immutable(uint256))

# @custom:packed _words signer:160, stake:95, acknowledged:1
_words: HashMap[address, uint256]

# @custom:packed _details text:160, position:32, extra:64
_details: HashMap[address, uint256]


@deploy
def __init__(minProviderStake: uint256):
    assert minProviderStake != 0, "Minimum of zero"
    MIN_PROVIDER_STAKE = minProviderStake


@external
def acknowledgeTEESignerByOwner(provider: address, expectedSigner: address = empty(address)):
    """
    @notice Acknowledges the provider's TEE signer. Pass the signer that you checked: without it, whichever signer the
            provider has registered at that moment is acknowledged.
    @dev Only the owner. Reverts with `ServiceNotExist`, `UnexpectedTEESigner`. Emits `ProviderTEESignerAcknowledged`.
    """
    ownable._check_owner()
    word: uint256 = self._registered(provider)
    signer: address = self._signer(word)
    if expectedSigner != empty(address) and expectedSigner != signer:
        errors._unexpected_signer(provider, expectedSigner, signer)
    self._set_acknowledged(provider, word | ACKNOWLEDGED)


@external
def revokeTEESignerAcknowledgement(provider: address):
    """
    @notice Revokes the acknowledgement, which stops the provider's settlements.
    @dev Only the owner. Reverts with `ServiceNotExist`. Emits `ProviderTEESignerAcknowledged`.
    """
    ownable._check_owner()
    self._set_acknowledged(provider, self._registered(provider) & ~ACKNOWLEDGED)


@internal
def _set_acknowledged(provider: address, word: uint256):
    """
    @dev Stores a word in which the acknowledgement was set or cleared. Emits `ProviderTEESignerAcknowledged`.
    """
    self._words[provider] = word
    log ProviderTEESignerAcknowledged(
        provider=provider,
        teeSignerAddress=self._signer(word),
        acknowledged=word >> ACKNOWLEDGED_OFFSET == 1,
    )


@internal
@pure
def _signer(word: uint256) -> address:
    return convert(word & SIGNER_MASK, address)


@internal
@view
def _registered(provider: address) -> uint256:
    """
    @dev Returns the provider's word. Reverts with `ServiceNotExist`.
    """
    word: uint256 = self._words[provider]
    if word >> STAKE_OFFSET == 0:
        errors._service_not_exist(provider)
    return word


@internal
def _stake(provider: address, word: uint256, amount: uint256) -> uint256:
    """
    @dev Books the stake of a first registration and rejects coins sent with an update. Returns the provider's word
         without storing it. Emits `ProviderStaked` for a first registration.
    """
    if word >> STAKE_OFFSET != 0:
        if amount != 0:
            errors._cannot_add_stake()
        return word
    if amount < MIN_PROVIDER_STAKE:
        errors._insufficient_stake(amount, MIN_PROVIDER_STAKE)
    if amount > STAKE_MASK:
        errors._amount_too_large(amount, STAKE_MASK)
    log ProviderStaked(provider=provider, amount=amount)
    return amount << STAKE_OFFSET


@internal
def _enlist(provider: address) -> uint256:
    """
    @dev Appends the provider to the list. Returns its details, without text, without storing them.
    """
    return lists._push(LIST, convert(provider, uint256)) << POSITION_OFFSET


@internal
def _remove(provider: address) -> uint256:
    """
    @dev Deletes the registration and returns the stake in wei, which the caller pays out last.
    """
    stake: uint256 = (self._registered(provider) >> STAKE_OFFSET) & STAKE_MASK
    position: uint256 = self._position(provider)
    moved: uint256 = lists._remove(LIST, position)
    if moved != 0:
        last: address = convert(moved, address)
        self._details[last] = (self._details[last] & ~(POSITION_MASK << POSITION_OFFSET)) | (
            position << POSITION_OFFSET
        )
    self._words[provider] = 0
    self._details[provider] = 0
    return stake


@internal
@pure
def _confirmed_signer(word: uint256) -> address:
    """
    @dev The TEE signer if the owner has acknowledged it, else the zero address.
    """
    if word >> ACKNOWLEDGED_OFFSET == 0:
        return empty(address)
    return self._signer(word)


@internal
@view
def _count() -> uint256:
    return lists._length(LIST)


@internal
@view
def _provider_at(position: uint256) -> address:
    return convert(lists._at(LIST, position), address)


@internal
@view
def _position(provider: address) -> uint256:
    return (self._details[provider] >> POSITION_OFFSET) & POSITION_MASK


@internal
@view
def _text(details: uint256) -> address:
    return convert(details & TEXT_MASK, address)
