"""Tests; `unit` needs no database, `integration` and `faults` do."""
