"""The endpoints, by subject: each module has a `ROUTER`."""
