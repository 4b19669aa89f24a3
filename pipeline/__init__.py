"""The experiment around the network: data, training runs, tracking, search and report."""
