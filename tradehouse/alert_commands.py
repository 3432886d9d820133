"""The `tradehouse alerts` command: print, and exit with codes. No logic."""

from __future__ import annotations

import sys

import click

from extract.errors import SettingsError
from extract.settings import load_settings
from tradehouse.output import DONE, PARTIAL, err, out


@click.group()
def alerts() -> None:
    """Try the receivers of alerts.

    Example: tradehouse alerts test
    """


@alerts.command()
def test() -> None:
    """Send one message to each URL of ALERT_URLS, and say which took it. Exit code 1 if one did not.

    Example: tradehouse alerts test
    """
    from extract.alert_sending import receivers, send
    from extract.troubles import trial

    found = receivers(load_settings())
    if not found:
        raise SettingsError("ALERT_URLS is not set: docs/alerts.md has examples")
    message = trial()
    failures = send(found, {each.position: message for each in found})
    for position, failure in failures.items():
        console = err if failure else out
        console.print(f"URL {position} of {len(found)}: {failure or 'taken'}", markup=False)
    sys.exit(PARTIAL if any(failures.values()) else DONE)
