# SPDX-License-Identifier: Apache-2.0
"""The pages of `serving explore`: what an index knows of a network, for people with a browser.

No key can be here: this package imports no wallet, signs nothing and sends nothing to the chain. It makes no request to
an address that is registered on the chain; what strangers wrote there is shown as text.
"""
