"""The machine and the versions a result stands for: hardware and software, no names and no paths."""

from __future__ import annotations

import os
import platform
import shutil
import sqlite3
import subprocess
from importlib.metadata import version
from pathlib import Path

from benchmarks.extraction import dlt_version
from extract.warehouse import Warehouse


def describe(warehouse: Warehouse, dlt_python: str | None) -> dict[str, str]:
    """What a reader needs to compare another machine with this one, name to text."""
    with warehouse.reading("bench") as connection:
        postgres = str(connection.info.parameter_status("server_version"))
    return {
        "processor": f"{_processor()}, {os.cpu_count()} cores",
        "memory": f"{_memory() / 2**30:.0f} GiB",
        "system": _system(),
        "Python": platform.python_version(),
        "Postgres": f"{postgres}, embedded, its default settings",
        "SQLite (plain script)": sqlite3.sqlite_version,
        **{name: version(name) for name in ("duckdb", "dbt-core", "dbt-postgres", "psycopg2-binary")},
        "pgloader": _pgloader() or "not installed",
        "dlt": (dlt_version(dlt_python) if dlt_python else None) or "not installed",
    }


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def _memory() -> int:
    """Bytes."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _system() -> str:
    try:
        return f"{platform.freedesktop_os_release()['PRETTY_NAME']}, {platform.machine()}"
    except OSError:
        return f"{platform.system()} {platform.release()}, {platform.machine()}"


def _pgloader() -> str | None:
    """The version pgloader prints on its first line, as `pgloader version "3.6.7~devel"`."""
    if shutil.which("pgloader") is None:
        return None
    printed = subprocess.run(["pgloader", "--version"], check=True, capture_output=True, text=True).stdout
    return printed.splitlines()[0].split('"')[1]
