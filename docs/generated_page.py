"""The command line of the scripts that write a page of docs/."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import click


def command(file: Path, page: Callable[[], str]) -> click.Command:
    """The command that writes a page, or with `--check` exits 1 where the file is not what `page` returns."""
    name = f"docs/{file.name}"

    @click.command(help=f"Write {name}.\n\nExample: python docs/generate_{file.stem}.py --check")
    @click.option("--check", is_flag=True, help="Write nothing; exit 1 where the page is stale.")
    def main(check: bool) -> None:
        wanted = page()
        if not check:
            file.write_text(wanted, encoding="utf-8")
        elif not file.exists() or file.read_text(encoding="utf-8") != wanted:
            click.echo(f"stale: {name} (make models writes it again)", err=True)
            raise SystemExit(1)

    return main
