"""The embedded Postgres, as far as it needs no server: its address, its rules, and what it complains of."""

from __future__ import annotations

from pathlib import Path

import psycopg2.extensions
import pytest

from extract import embedded
from extract.embedded import LONGEST_SOCKET_PATH, EmbeddedServer
from extract.errors import WarehouseError
from extract.system_user import Account, is_private, last_line


@pytest.mark.parametrize("place", ["/srv/data", "/srv/my data", "/srv/a&b=c?d#e%20f", "/srv/Zürich"])
def test_the_address_names_its_directory_whatever_its_characters(place: str) -> None:
    uri = EmbeddedServer(Path(place), Path(place), "pgserver").uri("tradehouse")
    assert psycopg2.extensions.parse_dsn(uri) == {
        "host": place,
        "port": "5432",
        "user": "postgres",
        "dbname": "tradehouse",
        "requirepeer": "pgserver",
    }
    assert " " not in uri


def test_only_the_user_who_runs_tradehouse_is_let_in() -> None:
    rules = embedded._rules(Account('od"d', 1, 1, 'od"d'))
    lines = [line for text in rules.values() for line in text.splitlines() if not line.startswith("#")]
    assert lines == ["local all all peer map=tradehouse", 'tradehouse "od""d" all']


def test_the_socket_moves_where_its_path_would_be_too_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "SHORT_PARENT", tmp_path)
    owner = Account("me", tmp_path.stat().st_uid, tmp_path.stat().st_gid, "me")
    fits = LONGEST_SOCKET_PATH - len(str(tmp_path / "x" / ".s.PGSQL.5432"))
    for surplus, name in ((0, "d" * (1 + fits)), (1, "d" * (2 + fits)), (1, "a,b")):
        data = tmp_path / name
        data.mkdir(mode=0o700)
        tmp_path.chmod(0o711)
        sockets = embedded._socket_directory(data, owner)
        assert (sockets == data) == (surplus == 0)
        assert is_private(sockets, owner)
    tmp_path.chmod(0o777)
    with pytest.raises(WarehouseError, match="every user can replace what others made"):
        embedded._socket_directory(data, owner)


def test_what_is_private(tmp_path: Path) -> None:
    owner = Account("me", tmp_path.stat().st_uid, 0, "me")
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    (tmp_path / "link").symlink_to(private)
    assert is_private(private, owner)
    assert not is_private(private, Account("other", owner.uid + 1, 0, "other"))
    assert not is_private(tmp_path / "link", owner)
    assert not is_private(tmp_path / "missing", owner)
    private.chmod(0o710)
    assert not is_private(private, owner)


def test_the_line_that_names_the_error_is_told() -> None:
    assert last_line("a\n1 FATAL:  no\n  2 LOG: shut down\n") == "1 FATAL:  no"
    assert last_line("initdb: error: no room\ninitdb: removing contents") == "initdb: error: no room"
    assert last_line("first\nlast\n\n") == "last"
    assert last_line("") == "no message"
