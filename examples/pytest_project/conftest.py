pytest_plugins = ["serving_network.pytest_plugin"]
