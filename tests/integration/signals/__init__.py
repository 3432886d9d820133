"""Signals, confluence and the answer of bars, on real servers."""
