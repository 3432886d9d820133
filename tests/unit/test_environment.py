"""Settings as people mistype them: variables that look like ours, `.env`, addresses, and secrets in what is printed."""

from __future__ import annotations

from pathlib import Path

import pytest

from extract.environment import lookalikes
from extract.errors import SettingsError, WarehouseError
from extract.redaction import complaint, redacted, require_plausible_uri
from extract.settings import load, load_settings
from extract.sources.accounts.settings import AccountsSettings
from serve.api.settings import ApiSettings
from tests.support.users import act_as
from tradehouse.registry import settings_classes

SETTINGS = [name for kind in settings_classes() for name in kind.model_fields]


def names(*variables: str) -> list[str]:
    return lookalikes(dict.fromkeys(variables, "x"), SETTINGS)


@pytest.mark.parametrize(
    "name",
    [
        "POSTGRES_URI",
        "POSTGRES_URL",
        "POSTGRESQL_URL",
        "POSTGRESQL_DSN",
        "POSTGRESSQL_URI",
        "DATABASE_URL",
        "SQLITE_FILE",
        "SQLITEPATH",
        "SQLITE_DB_PATH",
        "BYBIT_KEY",
        "BYBIT_APIKEY",
        "MT5_SERVICE_KEY",
        "TRADEHOUSE_DIR",
        "TRADEHOUSEHOME",
        "DBT_THREAD",
        "LOOKBACK_MINUTE",
        "MAX_ROWS_PER_TABLES",
        "sqlite_file",
    ],
)
def test_a_mistyped_variable_is_named(name: str) -> None:
    assert names(name, "PATH", "HOME") == [name]


def test_known_and_foreign_variables_are_not_named() -> None:
    assert names("SQLITE_PATH", "POSTGRESQL_URI", "tradehouse_home", "LOG_LEVEL", "BYBIT_API_KEY") == []
    # libpq's, the Postgres image's, dbt's, SQLite's, and what most environments hold
    assert names("PGHOST", "PGPASSWORD", "PGDATABASE", "POSTGRES_USER", "POSTGRES_PASSWORD", "POSTGRES_DB") == []
    assert names("API_KEY", "REDIS_HOST", "REDIS_PORT") == []
    assert names("DBT_PROFILES_DIR", "DBT_TARGET_PATH", "SQLITE_HISTORY", "LOGNAME", "LANG", "MAIL", "PWD") == []
    assert lookalikes({"POSTGRES_URI": ""}, SETTINGS) == []


def test_another_programs_database_is_not_named_where_ours_is_set() -> None:
    assert names("DATABASE_URL", "POSTGRESQL_URI") == []
    assert names("DATABASE_URL", "SQLITE_FILE", "POSTGRESQL_URI") == ["SQLITE_FILE"]


def test_an_env_file_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / ".env"
    file.write_bytes(b"SQLITE_PATH=caf\xe9.db\n")
    with pytest.raises(SettingsError, match=r"\.env is not a text file in UTF-8$"):
        load_settings()
    file.write_text("SQLITE_PATH=x.db\n")
    file.chmod(0)
    assert "/.env cannot be read: Permission denied" in act_as("nobody", load_settings)


def test_a_home_that_leads_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRADEHOUSE_HOME", "~nobody_by_this_name/x")
    with pytest.raises(SettingsError, match="TRADEHOUSE_HOME: ~nobody_by_this_name/x: "):
        _ = load_settings().home


@pytest.mark.parametrize("name", ["MT5_SERVICE_URL", "BYBIT_BASE_URL", "UPSTOX_BASE_URL", "UPSTOX_INSTRUMENTS_URL"])
@pytest.mark.parametrize(
    "address",
    [
        "https://host:abc",
        "https://host:99999",
        "https://host\n",
        "https://ho st",
        "https://host/a\tb",
        "https://:secret@host",
        "https://user@host",
        "https://[::1",
        "https://host?a=b",
        "https://host#a",
        "https://",
        "ftp://host",
    ],
)
def test_an_address_that_no_client_can_use(name: str, address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, address)
    with pytest.raises(SettingsError) as refused:
        [load(kind) for kind in settings_classes()]
    assert f"{name}: Value error, expected an address such as https://host" in str(refused.value)
    assert "\n" not in str(refused.value)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    "url",
    [
        "redis://host:abc",
        "redis://:secret@host:99999/0",
        "redis://:secret@host\n",
        "redis://ho st",
        "redis://[::1",
        "redis://",
        "http://host",
    ],
)
def test_an_address_that_redis_cannot_have(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", url)
    with pytest.raises(SettingsError) as refused:
        load(ApiSettings)
    assert str(refused.value).startswith(
        "settings that cannot work: REDIS_URL: Value error, expected redis://host:port"
    )
    assert "\n" not in str(refused.value)
    assert "secret" not in str(refused.value)


def test_addresses_that_redis_can_have(monkeypatch: pytest.MonkeyPatch) -> None:
    for url in ("redis://h:6379/0", "redis://:pass%40word@h", "rediss://u:p@[::1]:6380/1", "unix:///run/redis.sock"):
        monkeypatch.setenv("REDIS_URL", url)
        found = load(ApiSettings).redis_url
        assert found
        assert found.get_secret_value() == url


@pytest.mark.parametrize(
    "uri",
    ["postgresql://h:abc/d", "postgresql://u:secret@h:5432x/d", "postgresql://u:se@cret@h/d", "http://u:secret@h"],
)
def test_an_address_that_postgres_cannot_have(uri: str) -> None:
    with pytest.raises(WarehouseError, match=r"^POSTGRESQL_URI is no usable libpq URI") as refused:
        require_plausible_uri(uri)
    assert "\n" not in str(refused.value)
    assert "cret" not in str(refused.value)


def test_addresses_that_clients_can_use(monkeypatch: pytest.MonkeyPatch) -> None:
    for address in ("https://host", "https://host:8443/path", "https://[::1]:8443"):
        monkeypatch.setenv("MT5_SERVICE_URL", address + "/")
        assert load(AccountsSettings).mt5_service_url == address


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("postgresql://u:postgres@h:5432/postgres", "postgresql://u:***@h:5432/postgres"),
        ("postgresql://u:a@h/data", "postgresql://u:***@h/data"),
        ("postgresql://:secret@h/d", "postgresql://:***@h/d"),
        ("postgresql://u:s3cret%2Fwith%40signs@h/d", "postgresql://u:***@h/d"),
        ("postgresql://u:a b@h/d", "postgresql://u:***@h/d"),
        ("postgresql://h/d?user=u&password=secret&sslmode=require", "postgresql://h/d?user=u&password=***&sslmode=require"),
        ("postgresql://u:x@h/d?sslpassword=secret&sslkey=k", "postgresql://u:***@h/d?sslpassword=***&sslkey=k"),
        ("host=h user=u password='it\\'s mine' dbname=d", "host=h user=u password=*** dbname=d"),
        ("host=h password=secret sslpassword = 'a b' dbname=d", "host=h password=*** sslpassword = *** dbname=d"),
        ("postgresql://u@h:5432/d", "postgresql://u@h:5432/d"),
        ("postgresql://h:5432/d", "postgresql://h:5432/d"),
        ("postgresql://postgres@/d?host=/a/b", "postgresql://postgres@/d?host=/a/b"),
    ],
)  # fmt: skip
def test_passwords_in_an_address_are_masked(uri: str, expected: str) -> None:
    assert redacted(uri) == expected


def test_a_complaint_is_without_the_secrets_of_the_address() -> None:
    uri = "postgresql://u:s3cret%2F@h/d?sslpassword=key-word"
    told = complaint(Exception("no entry for s3cret/\n  at postgresql://u:s3cret%2F@h/d, key-word is wrong"), uri)
    assert told == "no entry for ***; at postgresql://u:***@h/d, *** is wrong"
    short = complaint(Exception("a bad day at postgresql://u:a@h/d and password=a"), "postgresql://u:a@h/d")
    assert short == "a bad day at postgresql://u:***@h/d and password=***"


def test_what_dbt_cannot_be_told_is_refused() -> None:
    with pytest.raises(WarehouseError, match="dbt cannot be told sslpassword; give sslkey a file without") as refused:
        require_plausible_uri("postgresql://u@h/d?sslkey=k&sslpassword=secret")
    assert "secret" not in str(refused.value)
