"""What of a recorded contract a verification service can compile, and what of it is submitted for each."""

from collections.abc import Iterator

from serving_network.contracts import load
from serving_network.deployment.record import Code, Contract
from serving_network.deployment.standard_json import StandardJson, check_recompiled, standard_json


def submissions(contract: Contract) -> Iterator[tuple[Code, StandardJson]]:
    """The implementation and the beacon with their checked sources. Raises VerifierFailed."""
    for code in (contract.implementation, contract.beacon):
        artifact = load(code.contract)
        made = standard_json(artifact)
        check_recompiled(artifact, made)
        yield code, made
