"""Executions of a Bybit account."""
