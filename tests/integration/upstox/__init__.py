"""Upstox: syncs against a fake of it."""
