"""State is counted: what the steps count while they run, behind the ports of `contract.ports`."""
