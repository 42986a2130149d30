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
    # The title ends with the frame's upper edge (or, where the terminal has no such signs, a rule), the message with a
    # rule; what follows repeats the help.
    lines = [line.strip("│ ") for line in plain.splitlines()]
    edges = [i for i, line in enumerate(lines) if line and (line[0] in "╭╰" or set(line) <= {"─", "-"})]
    first, last = (edges[0] + 1, edges[1]) if len(edges) > 1 else (0, len(lines))
    text = " ".join(line for line in lines[first:last] if line)
    missing = re.match(r"Missing from [^:]*: (.*)", text)
    if missing:
        names = re.findall(r"(?:^|\(required\) )(\S+)", missing[1])
        return f"{' and '.join(names)} {'is' if len(names) == 1 else 'are'} missing"
    lacking = re.match(r"Missing value for argument '(\S+)'", text)
    if lacking:
        return f"{lacking[1]} needs a value after it"
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
