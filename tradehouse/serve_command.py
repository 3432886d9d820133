"""The `serve` command: the HTTP API on uvicorn."""

from __future__ import annotations

import errno
import gc
import ipaddress
import logging
import os
import socket
import sys
from types import FrameType

import click

from extract.errors import SettingsError
from extract.settings import LOOPBACK, Settings, load, load_project, load_settings
from tradehouse.output import err, out

GRACE_SECONDS = 5
"""How long open requests may take to end after SIGTERM."""
UNANSWERED_MS = 30_000
"""A connection whose client has not taken what was sent for so long is closed by the kernel."""
BACKLOG = 2048
ACCEPTED_AT_ONCE = 16
"""Connections. The event loop takes one for each listening socket before it serves requests again, so under load many
new clients would wait for each other."""


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="Port; 0 takes a free one."
)
@click.option("--background", is_flag=True, help="Go on behind the shell, print the address, and log to serve.log.")
@click.option("--stop", is_flag=True, help="End the server that --background started.")
def serve(host: str, port: int, background: bool, stop: bool) -> None:
    """Serve the HTTP API: bars, indicators, confluence, health, and a stream of changes.

    It reads the warehouse and writes nothing. It starts while the warehouse is away and answers 503 until it is back.
    SIGTERM ends it.

    Example: tradehouse serve --port 8000
    """
    if background or stop:
        _behind_the_shell(host, port, stop)
        return
    from serve.api.settings import ApiSettings

    settings, own, project = load_settings(), load(ApiSettings), load_project()
    _log_to_stderr(settings)
    listening = _listen(host, port)
    dsn = _dsn(settings)

    import uvicorn

    from serve.api.app import create_app
    from serve.api.http import Http

    app = create_app(own, dsn, project)

    class Server(uvicorn.Server):
        def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002
            """End in good order, at a second signal at once. Streams never end by themselves."""
            self.force_exit = self.should_exit
            self.should_exit = True
            api = getattr(app.state, "api", None)
            if api is not None:
                api.hub.close()

    where = listening.getsockname()
    address = f"http://{f'[{where[0]}]' if ':' in where[0] else where[0]}:{where[1]}"
    err.print(f"listening on {address}", markup=False)
    if not _is_loopback(host):
        err.print(
            f"warning: {host} can be reached from other machines, and keys go over the network in the clear: put a "
            "reverse proxy with TLS in front",
            markup=False,
        )
    config = uvicorn.Config(
        app,
        loop="uvloop",
        http=Http,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=bool(own.api_trusted_proxies),
        forwarded_allow_ips=own.api_trusted_proxies,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    # what the start has left behind lives as long as the process: a full collection of it would halt all requests
    gc.freeze()
    Server(config).run(sockets=[listening, *(listening.dup() for _ in range(ACCEPTED_AT_ONCE - 1))])


def _behind_the_shell(host: str, port: int, stop: bool) -> None:
    from tradehouse import background

    home = load_settings().home
    if stop:
        out.print("stopped" if background.stop(home) else "was not running")
    else:
        out.print(background.start(home, ["--host", host, "--port", str(port)]), markup=False)


def _dsn(settings: Settings) -> str:
    """The connection string of the warehouse, without asking whether it answers; an embedded one is started."""
    from extract.redaction import require_plausible_uri
    from extract.warehouse import EMBEDDED, Warehouse, open_warehouse

    given = settings.postgresql_uri.get_secret_value().strip() if settings.postgresql_uri else EMBEDDED
    if given == EMBEDDED:
        return open_warehouse(settings).dsn
    require_plausible_uri(given)
    return Warehouse(given, embedded=False).dsn


def _listen(host: str, port: int) -> socket.socket:
    """The listening socket.

    Raises:
        SettingsError: the address is none of this machine, or the port is taken.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    except (socket.gaierror, UnicodeError):
        raise SettingsError(f"--host {host}: there is no such address") from None
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNANSWERED_MS)
    try:
        listening.bind(address)
        listening.listen(BACKLOG)
    except OSError as error:
        listening.close()
        if error.errno == errno.EADDRINUSE:
            raise SettingsError(f"port {port} of {host} is taken: end the program there, or give --port") from None
        raise SettingsError(f"cannot listen on {host} port {port}: {os.strerror(error.errno or 0)}") from None
    return listening


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host in LOOPBACK


def _log_to_stderr(settings: Settings) -> None:
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    logging.getLogger("tradehouse").setLevel(settings.log_level)
