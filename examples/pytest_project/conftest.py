# SPDX-License-Identifier: Apache-2.0
pytest_plugins = ["serving_network.pytest_plugin"]
