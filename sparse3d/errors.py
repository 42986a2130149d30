# SPDX-License-Identifier: Apache-2.0
"""What can go wrong, each with the exit code of the command line.

A message is one clear sentence (or a few): what was asked, where, what was found, what to do next.
"""

from __future__ import annotations


class Sparse3dError(Exception):
    """Base of every error a user can cause or meet; the CLI prints its text without a traceback."""

    exit_code = 1


class UsageError(Sparse3dError):
    """The command or a setting cannot be what the user means (unknown key, contradiction, folder in use)."""

    exit_code = 2


class DataError(Sparse3dError):
    """A file or a scene cannot be used: missing, truncated, inconsistent, without overlap."""

    exit_code = 3


class BackendError(Sparse3dError):
    """A back end was asked for that this machine or build lacks; says why and what to install."""

    exit_code = 4


class DivergedError(Sparse3dError):
    """Training met NaN or exploding values; names the step, the parameter and the dump to replay."""

    exit_code = 1


class DiskFullError(Sparse3dError):
    """A file could not be written; the previous version of it is still whole."""

    exit_code = 3
