"""The Dockerfile and compose.yaml: what they name exists, and no secret is where `docker inspect` shows it."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from tradehouse.main import main
from tradehouse.registry import SOURCES, settings_classes

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
PIPELINE = {"tradehouse": "mt5"} | {name: name for name in SOURCES if name != "mt5"}
"""Service -> its source."""


def compose() -> dict[str, Any]:
    return dict(yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8")))


SERVICES = compose()["services"]


def test_the_dockerfile_copies_what_exists_and_what_is_let_through() -> None:
    text = (DEPLOY / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
    copied = [words[1:-1] for line in text.splitlines() if (words := shlex.split(line, comments=True))[:1] == ["COPY"]]
    sources = {source for group in copied for source in group}
    packages = re.findall(r'"(\w+)\*"', (ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert {"tradehouse", "indicators"} <= {*packages}
    assert {"requirements.lock", "pyproject.toml", "macros", "sql", "dbt_project", *packages} <= sources
    assert all((ROOT / source).exists() for source in sources)
    ignored = (DEPLOY / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    assert ignored[1] == "*"
    assert {line[1:] for line in ignored if line.startswith("!")} == sources
    assert "--require-hashes" in text
    users = re.findall(r"^USER (\d+)", text, re.MULTILINE)
    assert users
    assert users[-1] != "0"


def test_every_image_is_pinned_by_its_digest() -> None:
    base = re.findall(r"^FROM (\S+)", (DEPLOY / "Dockerfile").read_text(encoding="utf-8"), re.MULTILINE)
    services = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))["services"]
    images = [*base, *(service["image"] for service in services.values() if "image" in service)]
    assert [image.partition("@")[0] for image in images] == ["python:3.11-slim", "postgres:17", "valkey/valkey:8"]
    assert all(re.fullmatch(r"[a-z./]+:[\w.-]+@sha256:[0-9a-f]{64}", image) for image in images)
    readme = (DEPLOY / "README.md").read_text(encoding="utf-8")
    assert all(image.partition("@")[0] in readme for image in images)
    assert "docker buildx imagetools inspect" in readme


def test_the_container_demands_a_warehouse() -> None:
    text = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
    [line] = re.findall(r"^ENTRYPOINT (.*)$", text, re.MULTILINE)
    entry = [*yaml.safe_load(line), "status"]

    def start(**variables: str) -> str:
        done = subprocess.run(entry, env={"PATH": "/bin"} | variables, capture_output=True, text=True, check=False)
        assert done.returncode == 127 if variables else done.returncode not in (0, 127)
        return done.stderr

    assert "POSTGRESQL_URI_FILE: or POSTGRESQL_URI is required in the container" in start()
    # with one of them it goes on to the command, which this PATH does not have
    assert "tradehouse: not found" in start(POSTGRESQL_URI="postgresql://h/d")
    assert "tradehouse: not found" in start(POSTGRESQL_URI_FILE="/run/secrets/postgresql_uri")


def test_there_is_a_service_for_every_source() -> None:
    assert set(SERVICES) == {"postgres", "serve", "redis", *PIPELINE}
    profiles = {name: service["profiles"] for name, service in SERVICES.items() if "profiles" in service}
    assert profiles == {name: [name] for name in PIPELINE if name != "tradehouse"}
    for name in profiles:
        group, command, *options = SERVICES[name]["command"]
        assert group == name
        assert isinstance(found := main.commands[group], click.Group)
        assert {*options} <= {each for parameter in found.commands[command].params for each in parameter.opts}


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_has_a_health_check(name: str) -> None:
    check = SERVICES[name]["healthcheck"]
    if name in PIPELINE:
        assert check["test"] == ["CMD", "tradehouse", "status", "--source", PIPELINE[name]]
    assert check["test"][0] == "CMD"
    assert {"interval", "timeout"} <= check.keys()
    awaited = SERVICES[name].get("depends_on", {})
    assert all(each == {"condition": "service_healthy"} for each in awaited.values())


@pytest.mark.parametrize("name", [*PIPELINE, "serve"])
def test_every_setting_reaches_its_service(name: str) -> None:
    [file] = SERVICES[name]["env_file"]
    assert file == {"path": "serve.env" if name == "serve" else "settings.env", "required": False}
    # what the compose file sets itself wins over the file; nothing that people choose is among it
    settings = {field.upper() for kind in settings_classes() for field in kind.model_fields}
    assert settings & SERVICES[name]["environment"].keys() <= {"SQLITE_PATH", "REDIS_URL"}
    ignored = (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
    assert {"deploy/*.env", "deploy/secrets/"} <= {*ignored}


def test_no_secret_is_in_a_variable() -> None:
    known = {field.upper() for kind in settings_classes() for field in kind.model_fields}
    for name, service in SERVICES.items():
        for variable, value in service.get("environment", {}).items():
            if re.search("PASSWORD|URI|KEY|SECRET|TOKEN", variable):
                assert variable.endswith("_FILE"), variable
                assert name == "postgres" or variable.removesuffix("_FILE") in known
                assert value.removeprefix("/run/secrets/") in service["secrets"], variable
    text = (DEPLOY / "compose.yaml").read_text(encoding="utf-8")
    assert set(re.findall(r"\$\{([A-Z_0-9]+)", text)) == {"TRADEHOUSE_USER", "MT5_DATA", "MT5_FILE"}


def test_each_service_sees_its_own_secrets_alone() -> None:
    seen = {name: {*service.get("secrets", [])} for name, service in SERVICES.items()}
    shared = {"postgresql_uri", "alert_urls"}
    assert seen == {
        "postgres": {"postgres_password", "tradehouse_password", "api_password"},
        "tradehouse": shared,
        "bybit": shared | {"bybit_api_key", "bybit_api_secret"},
        "accounts": shared | {"mt5_service_api_key"},
        "upstox": shared | {"upstox_access_token"},
        "indicators": shared,
        "serve": {"api_postgresql_uri", "api_cookie_secret"},
        "redis": set(),
    }
    assert compose()["secrets"] == {name: {"file": f"secrets/{name}"} for each in seen.values() for name in each}


def test_the_compose_file_mounts_and_builds_what_exists() -> None:
    mounts = [mount.split(":")[0] for mount in SERVICES["postgres"]["volumes"] if mount.startswith(".")]
    assert len(mounts) == 2
    assert all((DEPLOY / mount).is_file() for mount in mounts)
    for name in (*PIPELINE, "serve"):
        build = SERVICES[name]["build"]
        assert (DEPLOY / build["context"] / build["dockerfile"]).is_file()


def test_the_secrets_are_made_once(tmp_path: Path) -> None:
    directory = tmp_path / "secrets"

    def make() -> dict[str, str]:
        done = subprocess.run(
            ["sh", DEPLOY / "make-secrets.sh", directory], capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        return {file.name: file.read_text() for file in directory.iterdir()}

    made = make()
    assert set(made) == {*compose()["secrets"]}
    assert directory.stat().st_mode & 0o777 == 0o700
    assert {file.stat().st_mode & 0o777 for file in directory.iterdir()} == {0o644}
    passwords = {name: text.strip() for name, text in made.items() if re.search("password|cookie", name)}
    assert all(re.fullmatch("[0-9a-f]{48}", password) for password in passwords.values())
    assert len({*passwords.values()}) == len(passwords) == 4
    assert (
        made["postgresql_uri"]
        == f"postgresql://tradehouse:{passwords['tradehouse_password']}@postgres:5432/tradehouse\n"
    )
    assert made["api_postgresql_uri"] == f"postgresql://api:{passwords['api_password']}@postgres:5432/tradehouse\n"
    (directory / "bybit_api_key").write_text("mine")
    (directory / "api_password").unlink()
    again = make()
    assert again.pop("api_password") != made.pop("api_password")
    assert again == made | {"bybit_api_key": "mine"}
