"""MT5 accounts, read from a service beside the terminals."""
