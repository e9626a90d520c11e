# SPDX-License-Identifier: Apache-2.0
"""The gateway: sells inference of an OpenAI-compatible model server.

What is here needs no socket, no chain and no disk:

| module | question |
|---|---|
| `routes` | which paths does a service of this type sell? |
| `requests` | what does a request ask, and is it refused? |
| `content` | which media does a request contain, and does it refer to anything outside itself? |
| `fees` | what can a request cost at most, what did it cost, and what does the user's money cover? |
| `usage` | what does a model server report in an answer? |
| `metering` | which bytes of an answer go to the client, and what did it receive? |
| `delivery` | which bytes are held back until the row is stored? |
| `limits` | who sends too much? |
| `memory` | how much memory do the requests under way hold? |
| `refusals` | how is a refusal answered? |

What serves is built on it:

| module | question |
|---|---|
| `running` | is everything there that a gateway needs, and how does it start and stop? |
| `settings` | what does the provider set? |
| `readiness` | is the chain as the settings say, and does the store know its newest settlements? |
| `tls` | with which certificate does it listen? |
| `settler` | how is the process that settles kept running? |
| `control` | what do operators see and do while it runs? |
| `metrics`, `logs` | what is counted and logged? |
| `application` | which routes are there, and how are errors answered? |
| `cors` | which pages may read an answer? |
| `admission` | who may send a request, and does their money cover it? |
| `chain` | what is known of the service and the accounts, and when is it read again? |
| `selling` | how is one request forwarded, delivered and billed? |
| `bodies` | how is the body of a request read? |
| `pool` | which model server gets a request, and what if it fails? |
| `upstreams` | which model servers are there? |
| `upstream` | how is one of them asked? |
| `connections` | how do bytes get there and back? |
| `probes` | does it answer, and how does it report the usage? |
"""
