"""Turns MQL5 sources into C++, as far as the two differ in the subset that the collector keeps to."""

from __future__ import annotations

import re
from pathlib import Path

_TOKEN = re.compile(r"//[^\n]*|/\*.*?\*/|'(?:\\.|[^'\\])'|(?:\"(?:\\.|[^\"\\\n])*\"\s*)+", re.DOTALL)
_PROPERTY = re.compile(r"^#property[^\n]*$", re.MULTILINE)
_INCLUDE = re.compile(r"^#include <(\w+\.mqh)>$", re.MULTILINE)
_INPUT = re.compile(r"^input\s+(\w+)\s+(\w+)\s*=\s*([^;]+);", re.MULTILINE)
_ARRAY = re.compile(r"\b([A-Za-z_]\w*)(\s+&?)([A-Za-z_]\w*)\[\]")


def _token(match: re.Match[str]) -> str:
    text = match.group()
    if text.startswith('"'):
        literal, space = text.rstrip(), text[len(text.rstrip()) :]
        return f"S({literal}){space}"  # in C++ two literals cannot be added
    return text if text.startswith("'") else re.sub(r"[^\n]", "", text)  # a comment leaves its lines


def converted(source: str) -> str:
    """The C++ of one MQL5 file, line by line.

    Raises:
        ValueError: an array is declared in a way that the subset does not have.
    """
    text = _INCLUDE.sub(r"#include \1", _PROPERTY.sub("", source))
    text = _TOKEN.sub(_token, text)
    text = re.sub(r"^#include (\w+\.mqh)$", r'#include "\1"', text, flags=re.MULTILINE)
    text = _INPUT.sub(r'static const \1 \2 = terminal::input("\2", \1(\3));', text)
    text = _ARRAY.sub(r"Array<\1>\2\3", text)
    if left := re.search(r"\w\[\]", text):
        line = text[: left.start()].count("\n") + 1
        raise ValueError(f"line {line}: write one array a line, as `type name[]`")
    return text


def convert_tree(mql5: Path, target: Path) -> None:
    """Write the C++ of the program and its headers, side by side, into an existing folder."""
    for source in sorted(mql5.rglob("*.mq[5h]")):
        (target / source.name).write_text(converted(source.read_text(encoding="ascii")), encoding="ascii")
