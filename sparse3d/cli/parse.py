# SPDX-License-Identifier: Apache-2.0
"""From words to a dataclass with tyro, and tyro's complaints to our one sentence."""

from __future__ import annotations

import contextlib
import difflib
import io
import re
from collections.abc import Sequence
from typing import TypeVar

import tyro

from sparse3d.errors import UsageError

A = TypeVar("A")


def parse(kind: type[A], words: Sequence[str], *, prog: str, default: A | None = None) -> A:
    """`words` as an instance of the dataclass `kind`; its docstrings are the help.

    `default`: values below those given by hand (tyro.MISSING in a field: it must be given). Prints the help and raises
    SystemExit(0) for --help; raises UsageError for an unknown option (naming the nearest), a missing argument and a
    value of the wrong type.
    """
    complaint = io.StringIO()
    base = tyro.MISSING_NONPROP if default is None else default
    try:
        with contextlib.redirect_stderr(complaint):
            value, unknown = tyro.cli(
                kind, prog=f"sparse3d {prog}", args=list(words), default=base, return_unknown_args=True, config=CONFIG
            )
    except SystemExit as stop:
        if stop.code in (0, None):
            raise
        raise UsageError(f"{_reason(complaint.getvalue())} (`sparse3d {prog} --help` shows the options)") from None
    if unknown:
        raise UsageError(_unknown_option(unknown[0], kind, prog, default))
    return value


CONFIG = (tyro.conf.FlagCreatePairsOff, tyro.conf.OmitSubcommandPrefixes)


def _unknown_option(word: str, kind: type[A], prog: str, default: A | None) -> str:
    name = word.split("=")[0]
    if not name.startswith("-"):
        return f"`{word}` is one argument too many (`sparse3d {prog} --help` shows what is expected)"
    near = difflib.get_close_matches(name, option_names(kind, prog, default), n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]}?" if near else ""
    return f"unknown option {name}{hint} (`sparse3d {prog} --help` shows all)"


def option_names(kind: type[A], prog: str, default: A | None = None) -> list[str]:
    """All long options of the command, read off its help."""
    text = io.StringIO()
    base = tyro.MISSING_NONPROP if default is None else default
    with contextlib.redirect_stdout(text), contextlib.suppress(SystemExit):
        tyro.cli(kind, prog=prog, args=["--help"], default=base, config=CONFIG)
    plain = re.sub(r"\x1b\[[0-9;]*m", "", text.getvalue())
    return sorted(set(re.findall(r"(?<![\w-])--[a-z][\w.-]*", plain)))


def _reason(screen: str) -> str:
    """tyro's framed screen as one sentence: colours, frames, titles and its own pointer to --help taken out."""
    plain = re.sub(r"\x1b\[[0-9;]*m", "", screen)
    # A rule between two parts of the screen ends the message; what follows repeats the help.
    inside = [line.strip("│ ") for line in plain.splitlines() if line.startswith("│")]
    rule = next((i for i, line in enumerate(inside) if set(line) == {"─"}), len(inside))
    text = " ".join(line for line in inside[:rule] if line)
    missing = re.match(r"Missing from [^:]*: (.*)", text)
    if missing:
        names = re.findall(r"(?:^|\(required\) )(\S+)", missing[1])
        return f"{' and '.join(names)} {'is' if len(names) == 1 else 'are'} missing"
    text = re.split(r" Got errors:| Argument helptext:", text)[0]
    value = re.match(r"Error parsing (\S+): no type matching (\S+) could be instantiated from \['(.*)'\]", text)
    if value:
        return f"{value[1]} is {value[3]!r}, expected {value[2].replace('{None}|', '')}"
    number = re.match(r"Error parsing (\S+): .*: '(.*)'$", text)
    if number:
        return f"{number[1]} is {number[2]!r}, expected a number"
    choice = re.match(r"invalid choice '(.*)' for argument '(\S+)'. Expected one of \((.*)\)\.", text)
    if choice:
        near = difflib.get_close_matches(choice[1], re.findall(r"'([^']*)'", choice[3]), n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        return f"{choice[2]} is {choice[1]!r}, expected one of {choice[3].rstrip(',')}{hint}"
    return text.rstrip(".") or "the command line could not be understood"
