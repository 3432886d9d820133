"""The HTTP API, and the functions in the warehouse that answer for it."""
