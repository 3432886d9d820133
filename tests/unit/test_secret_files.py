"""Secrets as files: every secret setting can be given as NAME_FILE, and what is wrong with one is said in one line."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import SecretStr

from extract.environment import lookalikes
from extract.errors import SettingsError
from extract.secret_files import variables_of
from extract.settings import load, load_settings
from extract.sources.accounts.settings import AccountsSettings
from extract.sources.bybit.settings import BybitSettings
from extract.sources.upstox.settings import UpstoxSettings
from serve.api.settings import ApiSettings
from tests.support.users import act_as
from tradehouse.registry import settings_classes

# spelled out, so that a secret that is no SecretStr by mistake is missed here
SECRETS = {
    "POSTGRESQL_URI": "postgresql://u:pass@h/d",
    "ALERT_URLS": "tgram://1:a/2",
    "BYBIT_API_KEY": "key",
    "BYBIT_API_SECRET": "secret",
    "MT5_SERVICE_API_KEY": "key",
    "MT5_SERVICE_TOKEN": "token",
    "UPSTOX_ACCESS_TOKEN": "token",
    "REDIS_URL": "redis://:pass@h:6379/0",
    "API_COOKIE_SECRET": "0123456789abcdef" * 2,
}


@pytest.fixture(autouse=True)
def _nothing_else_is_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def value(name: str) -> str | None:
    """The setting of this name, whichever class it is of."""
    [kind] = [kind for kind in settings_classes() if name.lower() in kind.model_fields]
    secret = getattr(load(kind), name.lower())
    assert secret is None or isinstance(secret, SecretStr)
    return secret.get_secret_value() if secret else None


def refusal(name: str) -> str:
    with pytest.raises(SettingsError) as refused:
        value(name)
    assert "\n" not in str(refused.value)
    return str(refused.value)


@pytest.mark.parametrize(("name", "secret"), SECRETS.items())
def test_every_secret_can_stand_in_a_file(
    name: str, secret: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "secret"
    file.write_text(secret + "\n")
    monkeypatch.setenv(f"{name}_FILE", str(file))
    assert value(name) == secret
    file.write_text(secret)
    assert value(name) == secret
    monkeypatch.setenv(f"{name}_FILE", "")
    assert value(name) is None


def test_no_other_setting_can() -> None:
    files = {name.upper() for kind in settings_classes() for name in variables_of(kind) if name.endswith("_file")}
    assert files == {f"{name}_FILE" for name in SECRETS} | {"MT5_SERVICE_CA_FILE"}
    page = (Path(__file__).resolve().parents[2] / "docs" / "settings.md").read_text(encoding="utf-8")
    assert all(f"| `{name}` or `{name}_FILE` |" in page for name in SECRETS)


def test_one_line_break_at_the_end_goes_and_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "uri"
    monkeypatch.setenv("POSTGRESQL_URI_FILE", str(file))
    for content, expected in ((b"a b \r\n", "a b "), (b"a\n\n", "a\n"), (b" a", " a")):
        file.write_bytes(content)
        assert value("POSTGRESQL_URI") == expected


def test_a_line_of_the_env_file_names_one_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "uri").write_text("from the file\n")
    (tmp_path / ".env").write_text("POSTGRESQL_URI_FILE=uri\n")
    assert value("POSTGRESQL_URI") == "from the file"
    # an empty variable counts as unset, and a set one is the second of two
    monkeypatch.setenv("POSTGRESQL_URI", "")
    assert value("POSTGRESQL_URI") == "from the file"
    monkeypatch.setenv("POSTGRESQL_URI", "postgresql://u:hidden@h/d")
    told = refusal("POSTGRESQL_URI")
    assert told == "settings that cannot work: POSTGRESQL_URI_FILE: POSTGRESQL_URI is set too; give one of them"


def test_a_file_that_gives_no_secret_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "secret"
    monkeypatch.setenv("BYBIT_API_SECRET_FILE", str(file))
    begin = f"settings that cannot work: BYBIT_API_SECRET_FILE: {file}"
    assert refusal("BYBIT_API_SECRET") == f"{begin} cannot be read: No such file or directory"
    for content in ("", "\n", " \n"):
        file.write_text(content)
        assert refusal("BYBIT_API_SECRET") == f"{begin} is empty"
    file.write_bytes(b"caf\xe9")
    assert "is not a text file in UTF-8" in refusal("BYBIT_API_SECRET")
    file.write_text("secret with blanks")
    told = refusal("BYBIT_API_SECRET")
    assert told.startswith("settings that cannot work: BYBIT_API_SECRET_FILE: Value error, has characters that no key")
    assert "blanks?" in told
    assert "secret with" not in told
    file.chmod(0)
    assert f"{begin} cannot be read: Permission denied" in act_as("nobody", lambda: load(BybitSettings))
    monkeypatch.setenv("BYBIT_API_SECRET_FILE", str(tmp_path))
    assert f"{tmp_path} cannot be read: Is a directory" in refusal("BYBIT_API_SECRET")
    monkeypatch.setenv("BYBIT_API_SECRET_FILE", "~nobody_by_this_name/x")
    assert "~nobody_by_this_name/x cannot be read: Could not determine home" in refusal("BYBIT_API_SECRET")


def test_all_faults_are_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POSTGRESQL_URI_FILE", "nowhere")
    monkeypatch.setenv("ALERT_URLS_FILE", "nowhere either")
    monkeypatch.setenv("DBT_THREADS", "0")
    with pytest.raises(SettingsError) as refused:
        load_settings()
    for part in ("POSTGRESQL_URI_FILE: nowhere ", "ALERT_URLS_FILE: nowhere either ", "DBT_THREADS: "):
        assert part in str(refused.value)


def test_the_accounts_of_bybit_can_have_theirs_in_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "key").write_text("the-key\n")
    (tmp_path / "secret").write_text("the-secret\n")
    monkeypatch.setenv("BYBIT_ACCOUNTS", "main")
    monkeypatch.setenv("BYBIT_MAIN_API_KEY_FILE", "key")
    monkeypatch.setenv("BYBIT_MAIN_API_SECRET_FILE", "secret")
    [account] = load(BybitSettings).require_accounts()
    assert (account.key.get_secret_value(), account.secret.get_secret_value()) == ("the-key", "the-secret")


def test_the_warning_about_mistyped_variables_knows_them() -> None:
    known = [
        name for kind in (BybitSettings, AccountsSettings, UpstoxSettings, ApiSettings) for name in variables_of(kind)
    ]
    given = dict.fromkeys(["BYBIT_API_KEY_FILE", "MT5_SERVICE_TOKEN_FILE", "UPSTOX_ACCESS_TOKEN_FILE"], "x")
    assert lookalikes(given, known) == []
    assert lookalikes({"BYBIT_BASE_URL_FILE": "x", "BYBIT_KEY_FILE": "x"}, known) == [
        "BYBIT_BASE_URL_FILE",
        "BYBIT_KEY_FILE",
    ]
