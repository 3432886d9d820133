"""docs/dependencies.md: every package of the image with a licence, and none whose conditions nobody has read."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "dependencies.md"
# a licence that asks for nothing but its text
PERMISSIVE = {
    *("MIT", "MIT License", "BSD License", "BSD-2-Clause", "BSD-3-Clause", "3-Clause BSD License", "0BSD", "PSF-2.0"),
    *("Apache-2.0", "Apache Software License", "Zlib", "CC0-1.0", "Artistic License"),
}


def rows(text: str) -> dict[str, str]:
    table = text.split("|---|---|\n")[-1]
    return dict(re.findall(r"^\| ([a-z0-9._-]+) \| (.+) \|$", table, re.MULTILINE))


def test_the_page_is_what_the_installed_packages_say() -> None:
    done = subprocess.run(
        [sys.executable, "docs/generate_dependencies.py", "--check"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_every_locked_package_has_a_licence() -> None:
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    assert rows(PAGE.read_text(encoding="utf-8")).keys() == {
        line.split("==")[0].split("[")[0] for line in lock.splitlines() if "==" in line and not line.startswith(" ")
    }


def test_each_licence_with_conditions_is_spoken_of() -> None:
    text = PAGE.read_text(encoding="utf-8")
    with_conditions = {
        name for name, licence in rows(text).items() if not {*re.split(" or | OR | AND ", licence)} <= PERMISSIVE
    }
    spoken_of = text.split("## Licences with conditions")[1].split("## ")[0]
    named = {name for line in spoken_of.splitlines()[4:7] for name in line.split("|")[2].strip().split(", ")}
    assert named == with_conditions
    assert {"psycopg2-binary", "text-unidecode", "certifi"} <= with_conditions


def test_the_check_for_known_holes_reads_the_lock_of_the_image() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert "pip-audit --disable-pip --requirement requirements.lock" in text
