"""Instruments and candles of Upstox."""
