"""Real Postgres, the real command."""
