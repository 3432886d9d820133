"""deploy/: every file parses, names only what exists, and holds no secret."""

from __future__ import annotations

import io
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import click
import dotenv
import pytest

from tradehouse.main import main
from tradehouse.registry import SOURCES, settings_classes

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
SERVICES = {
    "tradehouse@.service": "/etc/tradehouse/environment",
    "tradehouse-build.service": "/etc/tradehouse/environment",
    "tradehouse-serve.service": "/etc/tradehouse/serve.environment",
}
UNITS = (*SERVICES, "tradehouse-build.timer")
COMMAND = "/opt/tradehouse/.venv/bin/tradehouse"


def unit_settings(name: str) -> dict[str, list[str]]:
    """Settings of a unit file as `Section.Key` -> values; a line that is no setting fails."""
    settings: dict[str, list[str]] = {}
    section = ""
    for line in (DEPLOY / name).read_text(encoding="utf-8").splitlines():
        if not line or line.startswith("#"):
            continue
        if line.startswith("["):
            section = line.strip("[]")
            continue
        key, separator, value = line.partition("=")
        assert section, line
        assert separator, line
        assert re.fullmatch(r"[A-Z][A-Za-z]+", key), line
        settings.setdefault(f"{section}.{key}", []).append(value)
    return settings


def deployed_files() -> list[Path]:
    """Every file of deploy/ and its folders but secrets and settings of this machine."""
    own = {*DEPLOY.glob("secrets/*"), *DEPLOY.glob("*.env")}
    return sorted(file for file in DEPLOY.rglob("*") if file.is_file() and file not in own)


def mentioned_commands() -> Iterator[tuple[str, list[str]]]:
    """File and words of every `tradehouse …` that stands in deploy/ as something to type or to start."""
    for file in deployed_files():
        text = file.read_text(encoding="utf-8")
        typed = re.findall(r"(?:`|bin/|Scripts\\|exec tradehouse )tradehouse(?:\.exe)?((?: [a-z0-9-]+)*)", text)
        configured = re.findall(r"\[CMD, tradehouse, ([a-z0-9 ,-]+)\]|^CMD \[(.*)\]$", text, re.MULTILINE)
        for words in typed:
            yield file.name, words.split()
        for plain, quoted in configured:
            yield file.name, (plain or quoted.replace('"', "")).replace(",", " ").split()


@pytest.mark.parametrize("name", SERVICES)
def test_services_are_hardened(name: str) -> None:
    settings = unit_settings(name)
    expected = {
        "User": "tradehouse",
        "EnvironmentFile": SERVICES[name],
        "StateDirectory": "tradehouse",
        "ProtectSystem": "strict",
        "ProtectHome": "yes",
        "PrivateTmp": "yes",
        "NoNewPrivileges": "yes",
        "CapabilityBoundingSet": "",
        "RestrictAddressFamilies": "AF_INET AF_INET6 AF_UNIX",
        "LimitCORE": "0",
        "MemoryMax": "512M" if name == "tradehouse-serve.service" else "4G",
    }
    assert {key: settings[f"Service.{key}"] for key in expected} == {key: [value] for key, value in expected.items()}
    assert settings["Service.SystemCallFilter"] == ["@system-service", "~@privileged @resources"]
    [start] = settings["Service.ExecStart"]
    assert start.startswith(f"{COMMAND} ")
    # the template runs sources that are on the internet
    local = {"Service.IPAddressDeny": ["any"], "Service.IPAddressAllow": ["localhost"]}
    limits = {key: value for key, value in settings.items() if key.startswith("Service.IPAddress")}
    assert limits == ({} if "@" in name else local)


def test_the_services_are_confined_alike() -> None:
    run, build, serve = (unit_settings(name) for name in SERVICES)
    assert differing(run, build) == {
        *("Unit.Description", "Unit.StartLimitIntervalSec", "Install.WantedBy", "Service.Type", "Service.ExecStart"),
        *("Service.KillSignal", "Service.KillMode", "Service.TimeoutStopSec", "Service.TimeoutStartSec"),
        *("Service.Restart", "Service.RestartSec", "Service.IPAddressDeny", "Service.IPAddressAllow"),
    }
    assert differing(run, serve) == {
        *("Unit.Description", "Unit.After", "Service.EnvironmentFile", "Service.ExecStart"),
        *("Service.TimeoutStopSec", "Service.RestartSec", "Service.ReadWritePaths", "Service.MemoryMax"),
        *("Service.IPAddressDeny", "Service.IPAddressAllow"),
    }


def differing(one: dict[str, list[str]], other: dict[str, list[str]]) -> set[str]:
    return {key for key in one.keys() | other.keys() if one.get(key) != other.get(key)}


def test_the_timer_starts_the_service_of_its_name_hourly() -> None:
    assert unit_settings("tradehouse-build.timer")["Timer.OnCalendar"] == ["*-*-* *:17:00"]
    assert unit_settings("tradehouse-build.service")["Service.ExecStart"] == [f"{COMMAND} sync --test"]


def test_every_source_has_an_instance_of_the_template() -> None:
    [start] = unit_settings("tradehouse@.service")["Service.ExecStart"]
    program, *words = shlex.split(start)
    assert program == COMMAND
    for source in SOURCES:
        command: click.Command = main
        for word in words:
            assert isinstance(command, click.Group)
            command = command.commands[word.replace("%i", source)]
        assert command.name == "run"


def verifiable_units(directory: Path) -> list[Path]:
    """Copies of the units whose command exists on any machine, as `verify` demands."""
    for name in UNITS:
        text = (DEPLOY / name).read_text(encoding="utf-8")
        (directory / name).write_text(text.replace(COMMAND, shutil.which("true") or "/bin/true"), encoding="utf-8")
    return [directory / name for name in UNITS]


def run_systemd_analyze(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    if not shutil.which("systemd-analyze"):
        pytest.skip("systemd-analyze is not installed")
    return subprocess.run(
        ["systemd-analyze", *arguments], capture_output=True, text=True, check=False, timeout=60, env={"LC_ALL": "C"}
    )


def test_systemd_finds_no_fault(tmp_path: Path) -> None:
    done = run_systemd_analyze("verify", *verifiable_units(tmp_path))
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_systemd_would_complain_of_a_fault(tmp_path: Path) -> None:
    units = verifiable_units(tmp_path)
    units[0].write_text(units[0].read_text().replace("ProtectSystem=strict", "ProtectSystem=maybe"))
    assert "maybe" in run_systemd_analyze("verify", *units).stderr


@pytest.mark.parametrize("name", SERVICES)
def test_systemd_rates_the_exposure_as_low(name: str) -> None:
    done = run_systemd_analyze("security", "--offline=true", "--threshold=20", "--no-pager", DEPLOY / name)
    if "unrecognized option" in done.stderr:
        pytest.skip("this systemd-analyze judges running services only")
    assert done.returncode == 0, done.stdout.splitlines()[-1:]


def test_crontab_lines() -> None:
    lines = (DEPLOY / "crontab.example").read_text(encoding="utf-8").splitlines()
    jobs = [line for line in lines if line and not line.startswith("#") and not re.match(r"[A-Z]+=", line)]
    assert len(jobs) == 2
    minutes = []
    for job in jobs:
        fields = job.split(maxsplit=5)
        assert all(re.fullmatch(r"[\d,*/-]+", field) for field in fields[:5]), job
        assert "%" not in job  # cron makes it a newline
        checked = subprocess.run(["sh", "-n", "-c", fields[5]], capture_output=True, text=True, check=False)
        assert checked.returncode == 0, checked.stderr
        ranges = [part.split("-") for part in fields[0].split(",")]
        minutes.append({minute for part in ranges for minute in range(int(part[0]), int(part[-1]) + 1)})
    cycles, builds = minutes
    # the two start at the same second, and the one without the lock does nothing
    assert cycles | builds == set(range(60))
    assert not cycles & builds


def test_every_command_mentioned_exists() -> None:
    found = list(mentioned_commands())
    seen = {file for file, words in found if words}
    assert seen >= {
        "tradehouse-build.service",
        *("crontab.example", "windows.md", "README.md", "Dockerfile", "compose.yaml"),
    }
    for file, words in found:
        command: click.Command = main
        while isinstance(command, click.Group) and words:
            assert words[0] in command.commands, f"{file}: tradehouse {' '.join(words)}"
            command = command.commands[words.pop(0)]
        options = {option for parameter in command.params for option in parameter.opts}
        assert {word for word in words if word.startswith("-")} <= options, f"{file}: {words}"


@pytest.mark.parametrize("example", ["environment.example", "serve.environment.example"])
def test_example_settings_are_read_alike_by_shell_and_dotenv(example: str) -> None:
    text = (DEPLOY / example).read_text(encoding="utf-8")
    values = dotenv.dotenv_values(stream=io.StringIO(text), interpolate=False)
    assert values
    known = {name for kind in settings_classes() for name in kind.model_fields}
    assert {name.lower() for name in values} <= known
    script = f"set -a; . deploy/{example}; " + "; ".join(f'printf "%s\\n" "${name}"' for name in values)
    shell = subprocess.run(["sh", "-c", script], cwd=ROOT, env={}, capture_output=True, text=True, check=True)
    assert shell.stdout.splitlines() == list(values.values())


def test_the_examples_name_every_setting_without_a_default() -> None:
    texts = [
        (DEPLOY / name).read_text(encoding="utf-8") for name in ("environment.example", "serve.environment.example")
    ]
    named = {name for text in texts for name in re.findall(r"^(?:# )?([A-Z0-9_]+)='", text, re.MULTILINE)}
    fields = {name.upper(): field for kind in settings_classes() for name, field in kind.model_fields.items()}
    # without these two there is no limit
    limits = {"MAX_ROWS_PER_TABLE", "MT5_SERVICE_REQUESTS_PER_MINUTE"}
    assert limits <= fields.keys()
    assert {name for name, field in fields.items() if field.default is None} - limits <= named
    assert named <= fields.keys()


def test_windows_example_keeps_its_backslashes() -> None:
    text = (DEPLOY / "windows.md").read_text(encoding="utf-8")
    [block] = re.findall(r"```\n(SQLITE_PATH.*?)```", text, re.DOTALL)
    values = dotenv.dotenv_values(stream=io.StringIO(block), interpolate=False)
    assert values["SQLITE_PATH"] == r"C:\MT5Data\trading_data.db"
    # what the guide warns of
    quoted = dotenv.dotenv_values(stream=io.StringIO(block.replace("'", '"')), interpolate=False)
    assert quoted["SQLITE_PATH"] == "C:\\MT5Data\trading_data.db"


def test_every_file_is_in_the_table_of_the_readme() -> None:
    readme = (DEPLOY / "README.md").read_text(encoding="utf-8")
    linked = set(re.findall(r"\]\(([^)]+)\)", readme))
    files = {file.relative_to(DEPLOY).as_posix() for file in deployed_files()}
    assert "prometheus/alerts.yml" in files
    assert linked >= files - {"README.md", "Dockerfile.dockerignore"}
    assert all((DEPLOY / link.partition("#")[0]).exists() for link in linked)


def test_every_address_across_a_network_is_verified() -> None:
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *deployed_files()]
    remote = re.compile(r"postgres(?:ql)?://[^\s'\"`]*@(?:HOST|host)\b[^\s'\"`]*")
    found = {page.relative_to(ROOT).as_posix(): remote.findall(page.read_text(encoding="utf-8")) for page in pages}
    assert {name for name, uris in found.items() if uris} >= {"README.md", "deploy/environment.example"}
    for name, uris in found.items():
        assert all("?sslmode=verify-full&sslrootcert=" in uri for uri in uris), name
