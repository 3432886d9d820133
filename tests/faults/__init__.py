"""Faults: whatever is killed, cut, locked, filled up or replaced, in the end all tables equal the oracle."""
