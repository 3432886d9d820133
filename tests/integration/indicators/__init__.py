"""Indicators of candles, on real Postgres and with the real command."""
