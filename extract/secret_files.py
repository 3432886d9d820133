"""Secrets given as files: `BYBIT_API_SECRET_FILE` is the path of a file whose content is `BYBIT_API_SECRET`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, SecretStr

SUFFIX = "_file"


def secret_names(kind: type[BaseModel]) -> list[str]:
    """Names of the settings of a class that are secrets."""
    return [name for name, field in kind.model_fields.items() if _holds_secret(field.annotation)]


def variables_of(kind: type[BaseModel]) -> list[str]:
    """Names of all variables that a class reads, in lower case: its settings, and files for the secrets."""
    return [*kind.model_fields, *(name + SUFFIX for name in secret_names(kind))]


def read_secrets(kind: type[BaseModel], given: Mapping[str, str]) -> tuple[dict[str, Any], list[str]]:
    """The secrets of a class that are given as files.

    Args:
        kind: a class of settings.
        given: the variables of the process and of `.env`, with names in lower case, without empty ones.

    Returns:
        Name of the setting -> content of its file without one line break at its end; and what is wrong with others,
        a line each that names the variable.
    """
    secrets: dict[str, Any] = {}
    faults = []
    for name in secret_names(kind):
        variable = (name + SUFFIX).upper()
        path = given.get(name + SUFFIX)
        if path is None:
            continue
        if name in given:
            faults.append(f"{variable}: {name.upper()} is set too; give one of them")
            continue
        try:
            content = Path(path).expanduser().read_text(encoding="utf-8")
        except (OSError, RuntimeError) as error:  # the latter for the home of an unknown user
            faults.append(f"{variable}: {path} cannot be read: {getattr(error, 'strerror', error)}")
        except ValueError:
            faults.append(f"{variable}: {path} is not a text file in UTF-8")
        else:
            if content.strip():
                secrets[name] = content.removesuffix("\n")
            else:
                faults.append(f"{variable}: {path} is empty")
    return secrets, faults


def _holds_secret(annotation: Any) -> bool:
    return annotation is SecretStr or any(map(_holds_secret, get_args(annotation)))
