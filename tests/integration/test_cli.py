"""What the command prints and how it ends: one clear line for what is wrong, and never a secret."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import click
import psycopg2.extensions
import pytest

from extract.settings import load_project
from extract.warehouse import lock_key
from tests.conftest import Server
from tests.support.collector import series
from tests.support.servers import DEBIAN_PASSWORD, administer, free_port
from tests.support.world import World, run_tradehouse
from tradehouse.main import main
from tradehouse.registry import SOURCES

MONDAY = 1_736_121_600  # 2025-01-06 00:00 UTC


def all_commands(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    for name, command in group.commands.items():
        yield (*path, name), command
        if isinstance(command, click.Group):
            yield from all_commands(command, (*path, name))


@pytest.mark.parametrize(("path", "command"), list(all_commands(main)), ids=lambda value: str(value))
def test_every_command_has_help_with_a_runnable_example(path: tuple[str, ...], command: click.Command) -> None:
    text = command.help or ""
    assert "Example: " in text
    example = text.split("Example: ", 1)[1]
    # `mt5 sync` is `sync`, and its example says so
    first = path[-1] if main.commands.get(path[-1]) is command else path[0]
    assert f"tradehouse {first}" in example
    for parameter in command.params:
        assert isinstance(parameter, click.Argument) or getattr(parameter, "help", None), parameter.name


def fails(world: World, *arguments: str) -> str:
    """Run a command that cannot work: exit 2, one line, nothing secret. Returns the line."""
    done = world.run(*arguments)
    assert done.returncode == 2, done.stdout + done.stderr
    assert done.stdout == ""
    lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, done.stderr
    assert "Traceback" not in done.stderr
    for secret in (DEBIAN_PASSWORD, quote(DEBIAN_PASSWORD, safe="")):
        assert secret not in done.stderr
    return lines[0]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (None, "there is no file"),
        ("directory", "is a directory"),
        (b"symbol,open,high\nEURUSD,1,2\n" * 300, "is a text file, not an SQLite database"),
        (bytes(range(256)) * 64, "no readable SQLite database: encrypted"),
        (b"SQLite format 3\x00" + b"\xff" * 5000, "cannot be read"),
    ],
    ids=["missing", "directory", "text", "encrypted", "damaged header"],
)
def test_a_source_that_is_no_database_is_named_for_what_it_is(
    world: World, content: bytes | str | None, expected: str
) -> None:
    path = world.directory / "other.db"
    if content == "directory":
        path.mkdir()
    elif isinstance(content, bytes):
        path.write_bytes(content)
    world.settings["SQLITE_PATH"] = str(path)
    assert expected in fails(world, "sync")
    assert world.query("select status from ops.sync_runs order by run_id desc limit 1") == [("failed",)]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_source_without_read_permission(world: World) -> None:
    world.sqlite_path.chmod(0)
    assert "cannot be read: Permission denied" in fails(world, "sync")


def test_settings_missing_or_wrong_are_named_all_at_once(world: World) -> None:
    world.settings |= {"SQLITE_PATH": ""}
    assert "SQLITE_PATH is not set" in fails(world, "sync")
    world.settings |= {"MAX_ROWS_PER_TABLE": "many", "LOOKBACK_MINUTES": "-1", "LOG_LEVEL": "loud"}
    line = fails(world, "sync")
    assert all(name in line for name in ("MAX_ROWS_PER_TABLE", "LOOKBACK_MINUTES", "LOG_LEVEL"))


@pytest.mark.only_on("embedded")
def test_a_source_that_stays_locked_makes_the_run_partial(world: World) -> None:
    world.collector.execute("pragma journal_mode = delete")
    world.collector.execute("begin exclusive")
    assert "the SQLite file is locked by another program" in world.sync(code=1)
    assert world.query("select status from ops.sync_runs order by run_id desc limit 1") == [("partial",)]
    world.collector.execute("rollback")
    world.sync()


def test_an_unreachable_server(world: World) -> None:
    world.uri = f"postgresql://someone:secret@127.0.0.1:{free_port()}/nowhere"
    line = fails(world, "sync")
    assert "cannot connect to Postgres" in line
    assert "Connection refused" in line
    assert "secret" not in line


def test_a_uri_that_libpq_would_misread_gives_no_piece_of_the_password_away(world: World) -> None:
    for password in ("zq@xj", "zq/xj", "zq@xj@"):
        world.uri = f"postgresql://someone:{password}@127.0.0.1:5432/nowhere"
        line = fails(world, "sync")
        assert "zq" not in line
        assert "xj" not in line
        assert "percent-encoded" in line


def test_a_wrong_password_and_a_missing_database(world: World, server: Server) -> None:
    if server.name == "embedded":
        pytest.skip("the embedded server asks for no password")
    parts = psycopg2.extensions.parse_dsn(world.uri)
    place = f"{parts['host']}:{parts['port']}"
    world.uri = f"postgresql://postgres:wr0ng@{place}/tradehouse_test?sslmode=require"
    line = fails(world, "sync")
    assert 'password authentication failed for user "postgres"' in line
    assert "wr0ng" not in line
    world.uri = server.uri.format(database="nowhere")
    assert 'database "nowhere" does not exist' in fails(world, "status")


def test_a_role_without_rights(world: World, server: Server) -> None:
    administer(
        server.uri,
        [
            "drop database if exists bare with (force)",
            "create database bare",
            "drop role if exists visitor",
            f"create role visitor login password '{DEBIAN_PASSWORD}'",
        ],
    )
    bare = server.uri.replace("//postgres", "//visitor").format(database="bare")
    world.uri = bare
    line = fails(world, "sync")
    assert "role visitor lacks a right in database bare" in line
    assert "grant create on database bare to visitor" in line


@pytest.mark.only_on("debian")
def test_what_the_error_for_missing_rights_advises_is_enough(world: World, server: Server) -> None:
    administer(
        server.uri,
        [
            "drop database if exists granted with (force)",
            "create database granted",
            "drop role if exists loader",
            f"create role loader login password '{DEBIAN_PASSWORD}'",
            "grant create on database granted to loader",
        ],
    )
    world.uri = server.uri.format(database="granted")
    world.execute("grant create, usage on schema public to loader")
    world.uri = server.uri.replace("//postgres", "//loader").format(database="granted")
    world.collector.load_many("EURUSD", series(MONDAY, 30))
    world.sync_and_check()
    world.uri = server.uri.format(database="postgres")
    administer(server.uri, ["drop database granted", "drop role loader"])


@pytest.mark.only_on("debian")
def test_no_output_holds_the_password(world: World, server: Server) -> None:
    if server.name == "embedded":
        pytest.skip("the embedded server asks for no password")
    world.collector.load_many("EURUSD", series(MONDAY, 3))
    world.settings["LOG_LEVEL"] = "debug"
    printed = ""
    for arguments in (["sync", "--test"], ["status"], ["status", "--json"], ["env"], ["warehouse", "uri"]):
        done = world.run(*arguments)
        printed += done.stdout + done.stderr
    written = "".join(
        file.read_text(errors="replace")
        for file in world.home.rglob("*")
        if file.is_file() and file.stat().st_size < 2e7
    )
    assert len(printed) > 2000
    assert "dbt" in written
    for secret in (DEBIAN_PASSWORD, quote(DEBIAN_PASSWORD, safe="")):
        assert secret not in printed
        assert secret not in written


def test_demo_data_leaves_an_existing_file_alone(tmp_path: Path) -> None:
    path = tmp_path / "sample.db"
    environment: dict[str, str] = {}
    done = run_tradehouse("demo-data", str(path), "--days", "1", environment=environment, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    before = path.read_bytes()
    done = run_tradehouse("demo-data", str(path), "--days", "1", environment=environment, cwd=tmp_path)
    assert (done.returncode, path.read_bytes()) == (2, before)
    assert "remove it, name another file, or pass --keep" in done.stderr
    done = run_tradehouse("demo-data", str(path), "--days", "1", "--keep", environment=environment, cwd=tmp_path)
    assert (done.returncode, path.read_bytes()) == (0, before)


@pytest.mark.only_on("embedded")
def test_docs_are_one_page_with_the_lineage_of_every_table_and_a_word_on_every_column(world: World) -> None:
    # the world's database has the candles only
    others = [f"tag:{source}" for source in SOURCES if source != "mt5"]
    built = world.dbt("build", "--select", *others, "--exclude-resource-type", "test")
    assert built.returncode == 0, built.stdout
    done = world.dbt("docs", "generate", "--static")
    assert done.returncode == 0, done.stdout
    target = world.home / "dbt" / "target"
    page = (target / "static_index.html").read_text()
    assert "Fifteen terminals write bars into one SQLite file." in page
    manifest = json.loads((target / "manifest.json").read_text())
    children = {
        name: [child for child in found if child.startswith("model.")] for name, found in manifest["child_map"].items()
    }
    for symbol in load_project().symbols:
        staged = f"model.tradehouse.stg_mt5__{symbol}"
        assert staged in children[f"source.tradehouse.mt5.{symbol}"]
        assert len([child for child in children[staged] if child.startswith(f"model.tradehouse.{symbol}_")]) == 9
    catalog = json.loads((target / "catalog.json").read_text())
    documented = {**manifest["nodes"], **manifest["sources"]}
    found = {**catalog["nodes"], **catalog["sources"]}
    assert set(found) == {name for name in documented if name.startswith(("model.", "seed.", "source."))}
    for name, relation in found.items():
        assert documented[name]["description"], name
        described = {column for column, node in documented[name]["columns"].items() if node["description"]}
        assert described == set(relation["columns"]), name
    overview = manifest["docs"]["doc.tradehouse.__overview__"]["block_contents"]
    links = re.findall(r"#!/(?:model|source)/([a-z0-9_.]+)", overview)
    assert links
    assert set(links) <= set(documented)


def test_plain_dbt_builds_and_tests_everything_on_a_fresh_warehouse(world: World, server: Server) -> None:
    world.uri = server.fresh_database("template1")
    assert world.run("warehouse", "init").returncode == 0
    done = world.dbt("build")
    assert done.returncode == 0, done.stdout
    assert "WARN=0 ERROR=0 SKIP=0" in done.stdout


@pytest.mark.only_on("embedded")
def test_json_of_a_run_that_finds_the_lock_held_says_so(world: World) -> None:
    commands = {command for path, command in all_commands(main) if {"json", "tests"} <= options(command)}
    held = ("sync", "mt5 sync", "bybit sync", "bybit backfill", "accounts sync", "upstox sync", "indicators sync")
    assert len(commands) == len({*held, "indicators run"}) - 1  # `sync` and `mt5 sync` are one
    world.settings |= {"BYBIT_API_KEY": "k", "BYBIT_API_SECRET": "s", "UPSTOX_ACCESS_TOKEN": "t"}
    world.settings |= {"MT5_SERVICE_URL": "https://127.0.0.1:1", "MT5_SERVICE_API_KEY": "k"}
    with world.connection() as connection, connection.cursor() as cursor:
        for source in SOURCES:
            cursor.execute("select pg_advisory_lock(%s)", (lock_key(source),))
        for words in (*held, "indicators run", "indicators load"):
            done = world.run(*words.split(), "--json")
            source = words.split()[0] if " " in words else "mt5"
            said = json.loads(done.stdout)
            assert (done.returncode, said["success"], said["skipped"]) == (0, True, True), words
            assert said["message"].startswith(f"another run of {source} holds the lock: ")
            assert done.stderr.endswith(f"{said['message']}; nothing to do\n")


def options(command: click.Command) -> set[str]:
    return {name.removeprefix("as_") for parameter in command.params if (name := parameter.name)}
