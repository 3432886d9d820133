"""What the tests share: worlds, oracles, servers and fake services."""
