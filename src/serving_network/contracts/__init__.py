# SPDX-License-Identifier: Apache-2.0
"""The compiled contracts and the codec of their ABIs."""

from serving_network.contracts.artifacts import Artifact, ArtifactError, load
from serving_network.contracts.codec import (
    Decoded,
    DecodedEvent,
    Interface,
    MalformedData,
    UnencodableArguments,
)

__all__ = [
    "Artifact",
    "ArtifactError",
    "Decoded",
    "DecodedEvent",
    "Interface",
    "MalformedData",
    "UnencodableArguments",
    "load",
]
