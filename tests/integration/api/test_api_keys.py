"""`tradehouse api-keys`: a key is shown once and kept as a hash; names, tiers, dates, revocation."""

from __future__ import annotations

import hashlib
import json
import re
from datetime import datetime, timedelta, timezone

import psycopg2
import pytest

from tests.support.world import World

KEY = re.compile(r"tradehouse_[A-Za-z0-9_-]{43}")
KEYS = "select name, tier, encode(key_hash, 'hex') from ops.api_keys order by created_at"


def api_keys(world: World, *arguments: str, code: int = 0) -> str:
    """Run the command; return stdout, or stderr where it could not run."""
    done = world.run("api-keys", *arguments)
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout if code == 0 else done.stderr


def test_a_key_is_shown_once_and_kept_as_its_hash(world: World) -> None:
    done = world.run("api-keys", "add", "charts", "--tier", "pro", "--expires", "2099-01-31")
    assert done.returncode == 0, done.stderr
    key = done.stdout.strip()
    assert KEY.fullmatch(key)
    assert done.stderr == "charts: tier PRO, until 2099-01-31 00:00 UTC. Keep the key: it cannot be shown again.\n"
    other = api_keys(world, "add", "monitor", "--tier", "ADMIN").strip()
    assert other != key
    digests = {name: hashlib.sha256(each.encode()).hexdigest() for name, each in (("charts", key), ("monitor", other))}
    assert world.query(KEYS) == [("charts", "PRO", digests["charts"]), ("monitor", "ADMIN", digests["monitor"])]
    assert world.query("select expires_at = '2099-01-31Z' from ops.api_keys where name = 'charts'") == [(True,)]

    printed = api_keys(world, "list") + api_keys(world, "list", "--json")
    assert "2099-01-31 00:00" in printed
    for secret in (key, other, *digests.values()):
        assert secret not in printed
        assert secret.removeprefix("tradehouse_")[:12] not in printed
    assert [(each["name"], each["state"]) for each in json.loads(api_keys(world, "list", "--json"))] == [
        ("monitor", "active"),
        ("charts", "active"),
    ]


def test_a_revoked_key_gives_its_name_free(world: World) -> None:
    assert "there are no keys" in api_keys(world, "list")
    assert json.loads(api_keys(world, "list", "--json")) == []
    first = api_keys(world, "add", "charts", "--tier", "FREE")
    taken = api_keys(world, "add", "charts", "--tier", "PRO", code=2)
    assert taken == "error: there is a key of the name 'charts' already; revoke it, or choose another name\n"
    assert api_keys(world, "revoke", "charts") == "charts: revoked\n"
    nothing = "error: there is no key of the name 'charts' that is not revoked\n"
    assert api_keys(world, "revoke", "charts", code=2) == nothing
    assert api_keys(world, "add", "charts", "--tier", "PRO") != first
    # an expired key keeps its name until somebody revokes it
    world.execute("update ops.api_keys set expires_at = now() where revoked_at is null")
    states = [(each["tier"], each["state"]) for each in json.loads(api_keys(world, "list", "--json"))]
    assert states == [("PRO", "expired"), ("FREE", "revoked")]
    assert api_keys(world, "add", "charts", "--tier", "PRO", code=2) == taken


@pytest.mark.only_on("embedded")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("charts", "--tier", "GOLD"), "error: there is no tier 'GOLD'; expected one of ADMIN, FREE, PRO"),
        (("charts", "--tier", ""), "error: there is no tier ''; expected one of ADMIN, FREE, PRO"),
        (("charts",), "Missing option '--tier'"),
        ((" ", "--tier", "PRO"), "expected a name for the key, such as charts"),
        (("a\nb", "--tier", "PRO"), "expected a name for the key, such as charts"),
        (("charts", "--tier", "PRO", "--expires", "soon"), "Invalid value for '--expires'"),
        (("charts", "--tier", "PRO", "--expires", "2025-01-01"), "would have expired already at 2025-01-01 00:00 UTC"),
    ],
)
def test_what_makes_no_key(world: World, arguments: tuple[str, ...], message: str) -> None:
    assert message in api_keys(world, "add", *arguments, code=2)
    assert world.query(KEYS) == []


@pytest.mark.only_on("embedded")
def test_before_the_first_build_there_are_no_tiers(world: World) -> None:
    world.execute("drop table api.tiers cascade")
    message = "error: the warehouse has no tiers yet: run tradehouse sync, which builds them\n"
    assert api_keys(world, "add", "charts", "--tier", "PRO", code=2) == message


@pytest.mark.only_on("embedded")
def test_a_server_that_logs_all_statements_sees_no_key(world: World) -> None:
    """What the connection sends is in pg_stat_activity for a moment, and in the server's log where that is wanted."""
    world.execute(
        "create table seen (query text);"
        "create function look() returns trigger language plpgsql as"
        " 'begin insert into seen values (current_query()); return null; end';"
        "create trigger look after insert on ops.api_keys execute function look()"
    )
    key = api_keys(world, "add", "charts", "--tier", "PRO").strip()
    [(statement,)] = world.query("select query from seen")
    assert "insert into ops.api_keys" in statement
    assert key not in statement


def test_last_used_is_written_once_a_minute(world: World) -> None:
    api_keys(world, "add", "charts", "--tier", "PRO")
    touch = "select ops.touch_api_key(key_hash) from ops.api_keys"
    version = "select xmin::text, last_used_at, last_used_at = date_trunc('minute', last_used_at) from ops.api_keys"
    world.execute("update ops.api_keys set last_used_at = now() - interval '2 minutes'")
    world.execute(touch)
    [(_, used_at, whole)] = world.query(version)
    assert whole
    assert timedelta(0) <= datetime.now(timezone.utc) - used_at < timedelta(minutes=2)
    world.execute("update ops.api_keys set last_used_at = '2100-01-01Z'")
    before = world.query(version)
    world.execute(touch)
    assert world.query(version) == before
    world.execute("select ops.touch_api_key(sha256('of nobody'))")
    assert world.query("select count(*) from ops.api_keys") == [(1,)]


def test_the_table_takes_hashes_only(world: World) -> None:
    with pytest.raises(psycopg2.errors.CheckViolation):
        world.execute("insert into ops.api_keys (key_hash, name, tier) values ('tradehouse_secret', 'a', 'PRO')")
