"""The HTTP API: answers built by Postgres, passed on and cached. `serve.api.app.create_app` makes it."""
