# SPDX-License-Identifier: Apache-2.0
"""The local network: a ledger, inference and fine-tuning, at the addresses where clients look for them."""

from pathlib import Path
from typing import Final

from serving_network.chain.connection import AsyncConnection
from serving_network.chains import LOCAL_CHAIN
from serving_network.deployment.deploy import new_record, plan_deployment
from serving_network.deployment.engine import Progress, RunOptions, carry_out
from serving_network.deployment.record import Record
from serving_network.deployment.record_file import RecordFile
from serving_network.deployment.spec import LedgerSpec, NetworkSpec, ServiceSpec
from serving_network.money import WEI_PER_COIN
from serving_network.signing import Signer

LOCAL: Final = NetworkSpec(
    chain_id=LOCAL_CHAIN,
    ledger=LedgerSpec(min_account_balance=3 * WEI_PER_COIN, min_transfer_amount=WEI_PER_COIN),
    services=(
        ServiceSpec(
            contract="InferenceServing",
            type="inference",
            version="v1.0",
            description="Answers of language models, settled per user",
            lock_time=86_400,
            min_provider_stake=100 * WEI_PER_COIN,
            recommended=True,
        ),
        ServiceSpec(
            contract="FineTuningServing",
            type="fine-tuning",
            version="v1.1",
            description="Training of models, settled per deliverable",
            lock_time=86_400,
            min_provider_stake=100 * WEI_PER_COIN,
            penalty_percentage=30,
            recommended=True,
        ),
    ),
)


async def deploy_local_network(
    chain: AsyncConnection, deployer: Signer, *, path: Path | None = None, progress: Progress | None = None
) -> Record:
    """Deploy and register what is missing on a local chain, and return the record, which is kept at `path` if given.

    The addresses are the documented ones if `deployer` is the first development account and has sent nothing yet.
    Raises what `carry_out` raises.
    """
    if path is not None and path.exists():
        file = RecordFile.open(path)
    else:
        file = RecordFile(path, await new_record(chain, "local", LOCAL, deployer.address))
    plan = await plan_deployment(chain, LOCAL, file.record, deployer.address)
    await carry_out(chain, deployer, file, plan, RunOptions(estimate=False, progress=progress))
    return file.record
