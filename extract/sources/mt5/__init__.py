"""Candles: the SQLite file that a MetaTrader 5 collector writes."""
