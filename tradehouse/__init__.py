"""The command: prints, and exits with codes."""
