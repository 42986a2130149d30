# SPDX-License-Identifier: Apache-2.0
"""The entry point: finds the command, imports only that one, turns errors into a sentence and an exit code."""

from __future__ import annotations

import contextlib
import difflib
import importlib
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

from sparse3d.cli import context
from sparse3d.cli.commands import COMMANDS, overview, usage_of_group
from sparse3d.errors import Sparse3dError, UsageError

EXIT_INTERNAL = 1
EXIT_INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; never raises for what a user can do."""
    _make_output_robust()
    words = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in words
    words = [word for word in words if word != "--debug"]
    context.reset()
    try:
        code = _dispatch(words)
        sys.stdout.flush()
        return code
    except Sparse3dError as error:
        if debug:
            traceback.print_exc()
        _say(f"sparse3d: {error}")
        return error.exit_code
    except KeyboardInterrupt:
        _say("sparse3d: interrupted")
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # The reader of stdout (head, less) has gone. Nothing is left to say to it, also not by Python's last flush.
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except SystemExit as stop:
        return _code_of(stop)
    except Exception as error:
        _say(_internal_error(error, debug))
        return EXIT_INTERNAL


def _dispatch(words: list[str]) -> int:
    if not words or words[0] in ("-h", "--help", "help"):
        print(overview(version()))
        return 0
    if words[0] in ("--version", "-V"):
        print(f"sparse3d {version()}")
        return 0
    name, rest = _find_command(words)
    if name is None:
        print(usage_of_group(words[0]))
        return 0
    module = importlib.import_module(f"sparse3d.cli.{COMMANDS[name].module}")
    return module.main(rest)


def _find_command(words: list[str]) -> tuple[str | None, list[str]]:
    """The command's name and the words after it; None for a group (`bench`) without a command or with --help."""
    for length in (2, 1):
        name = " ".join(words[:length])
        if name in COMMANDS:
            return name, words[length:]
    groups = {name.split()[0] for name in COMMANDS if " " in name}
    if words[0] in groups:
        if len(words) == 1 or words[1] in ("-h", "--help"):
            return None, []
        known = [name for name in COMMANDS if name.startswith(words[0] + " ")]
        raise UsageError(_unknown("command", " ".join(words[:2]), known))
    if words[0].startswith("-"):
        raise UsageError(f"the command comes first: sparse3d COMMAND {words[0]} (`sparse3d --help` lists them)")
    raise UsageError(_unknown("command", words[0], [*COMMANDS, *groups]))


def _unknown(what: str, name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"; did you mean `{near[0]}`?" if near else ""
    return f"there is no {what} `{name}`{hint} (`sparse3d --help` lists them)"


def version() -> str:
    """The version of the installed package, or of the source tree it runs from."""
    from importlib import metadata

    try:
        return metadata.version("sparse3d")
    except metadata.PackageNotFoundError:
        return "0+source"


def _internal_error(error: Exception, debug: bool) -> str:
    what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    if debug:
        traceback.print_exc()
        return f"sparse3d: internal error: {what}"
    path = _write_traceback()
    where = f"the traceback is in {path}" if path else "add --debug to see where"
    return f"sparse3d: internal error: {what} ({where}; please report it with the output of `sparse3d doctor`)"


def _write_traceback() -> Path | None:
    """The current exception's traceback in the run folder, if there is one and it can be written."""
    if context.run_folder is None or not context.run_folder.is_dir():
        return None
    path = context.run_folder / "error.txt"
    try:
        path.write_text(traceback.format_exc(), encoding="utf-8")
    except OSError:
        return None
    return path


def _code_of(stop: SystemExit) -> int:
    if stop.code is None or isinstance(stop.code, int):
        return stop.code or 0
    _say(f"sparse3d: {stop.code}")
    return EXIT_INTERNAL


def _say(text: str) -> None:
    # stderr may be closed too; there is nobody left to tell then.
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
    with contextlib.suppress(OSError, ValueError):
        print(text, file=sys.stderr, flush=True)


def _make_output_robust() -> None:
    """A path that the terminal's encoding lacks is printed with escapes instead of ending the command."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, ValueError, OSError):
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
