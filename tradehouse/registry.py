"""The one list of sources: name -> module. A module is imported only when needed.

A module of this list has:

- `SETTINGS`: the class of the source's settings, for `docs/settings.md`;
- `default_every(settings)`: seconds between the ticks of its service;
- `create(settings, project, **options)`: the source (`extract.source.Source`); raises SettingsError;
- `check(settings, project)`: tries the source and yields lines that say what works; writes nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from extract.settings import EnvironmentSettings, Settings

SOURCES = {
    "mt5": "extract.sources.mt5.source",
    "bybit": "extract.sources.bybit.source",
    "accounts": "extract.sources.accounts.source",
    "upstox": "extract.sources.upstox.source",
    "indicators": "indicators.source",
}


def source_module(name: str) -> Any:
    """The module of a source."""
    return import_module(SOURCES[name])


def settings_classes() -> list[type[EnvironmentSettings]]:
    """The classes of all settings: those all sources share, then each source's own, then the API's."""
    from serve.api.settings import ApiSettings

    own = [source_module(name).SETTINGS for name in SOURCES]
    return list(dict.fromkeys([Settings, *own, ApiSettings]))
