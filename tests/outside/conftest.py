# SPDX-License-Identifier: Apache-2.0
from tests.clients.conftest import deployed as deployed
from tests.clients.conftest import world as world
