# SPDX-License-Identifier: Apache-2.0
"""Check what stands in the way of a payment, and name the command that leads on and the role that runs it."""

from serving_network.clients.doctor.check import Check, Role, first_failure
from serving_network.clients.doctor.owner import examine_offers, examine_owner
from serving_network.clients.doctor.payment import examine_payment
from serving_network.clients.doctor.provider import examine_provider
from serving_network.clients.doctor.settlement import examine_fine_tuning, examine_inference
from serving_network.clients.doctor.user import examine_user

__all__ = [
    "Check",
    "Role",
    "examine_fine_tuning",
    "examine_inference",
    "examine_offers",
    "examine_owner",
    "examine_payment",
    "examine_provider",
    "examine_user",
    "first_failure",
]
