# SPDX-License-Identifier: Apache-2.0
"""Fetching a public scene: https only, a limit on the size, and nothing is kept that has not the stated SHA-256."""

from __future__ import annotations

import hashlib
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import IO

from sparse3d.errors import DataError, UsageError
from sparse3d.formats.atomic import atomic_file

Progress = Callable[[int, int | None], None]  # bytes so far, bytes expected or None

_BLOCK_BYTES = 1 << 16
_TIMEOUT_S = 30.0
_LOCAL_HOSTS = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True)
class DownloadLimits:
    """max_bytes: of one file. http_on_localhost: for tests against a server on this machine; never set by a command."""

    max_bytes: int = 4 << 30
    http_on_localhost: bool = False


def check_url(url: str, limits: DownloadLimits) -> None:
    """Raises UsageError unless `url` is https (or http to this machine where the limits allow it)."""
    parts = urllib.parse.urlsplit(url)
    if parts.scheme == "https" and parts.hostname:
        return
    if parts.scheme == "http" and limits.http_on_localhost and parts.hostname in _LOCAL_HOSTS:
        return
    raise UsageError(f"{url}: only https addresses are fetched; anything else could be changed on its way")


def check_sha256(sha256: str) -> str:
    """The checksum in lower case. Raises UsageError unless it is 64 hexadecimal digits."""
    text = sha256.strip().lower()
    if len(text) != 64 or any(c not in "0123456789abcdef" for c in text):
        raise UsageError(f"--sha256 {sha256!r}: must be 64 hexadecimal digits (as `sha256sum FILE` prints them)")
    return text


def download(
    url: str, path: Path, sha256: str, limits: DownloadLimits = DownloadLimits(), progress: Progress | None = None
) -> int:
    """Fetch `url` into `path`, atomically, and return the number of bytes.

    Raises UsageError for an address that is not https, DataError where the server's answer is an error, too large, cut
    off, or does not have the stated SHA-256; then nothing is left at `path`.
    """
    check_url(url, limits)
    expected = check_sha256(sha256)
    try:
        with _open(url, limits) as response, atomic_file(path) as out:
            return _copy(response, out, url, expected, limits, progress)
    except urllib.error.HTTPError as error:
        raise DataError(f"{url}: the server answered {error.code} {error.reason}; check the address") from None
    except urllib.error.URLError as error:
        raise DataError(f"{url}: cannot be reached ({error.reason}); check the address and the connection") from None
    except (TimeoutError, ConnectionError, HTTPException) as error:
        raise DataError(f"{url}: the connection broke ({error or type(error).__name__}); try again") from None


def _copy(
    response: IO[bytes], out: IO[bytes], url: str, expected: str, limits: DownloadLimits, progress: Progress | None
) -> int:
    headers = getattr(response, "headers", {})
    stated = headers.get("Content-Length")
    total = int(stated) if stated and stated.isdigit() else None
    if total is not None and total > limits.max_bytes:
        raise DataError(
            f"{url}: has {total} bytes, more than the limit of {limits.max_bytes}; choose a larger --max-bytes"
        )
    digest = hashlib.sha256()
    done = 0
    while block := response.read(_BLOCK_BYTES):
        done += len(block)
        if done > limits.max_bytes:
            raise DataError(f"{url}: is longer than the limit of {limits.max_bytes} bytes; choose a larger --max-bytes")
        digest.update(block)
        out.write(block)
        if progress is not None:
            progress(done, total)
    if total is not None and done != total:
        raise DataError(f"{url}: cut off after {done} of {total} bytes; try again")
    if digest.hexdigest() != expected:
        raise DataError(
            f"{url}: the {done} bytes received have SHA-256 {digest.hexdigest()}, not the stated {expected}; "
            "nothing was kept: check --sha256 with whoever gave it, or try again"
        )
    return done


class _CheckedRedirects(urllib.request.HTTPRedirectHandler):
    """Follows a redirect only to an address that could have been asked for in the first place."""

    def __init__(self, limits: DownloadLimits) -> None:
        self._limits = limits

    def redirect_request(self, req, fp, code, msg, headers, newurl):  # type: ignore[no-untyped-def]
        check_url(newurl, self._limits)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _open(url: str, limits: DownloadLimits) -> IO[bytes]:
    handlers: list[urllib.request.BaseHandler] = [_CheckedRedirects(limits)]
    if urllib.parse.urlsplit(url).hostname in _LOCAL_HOSTS:
        # A proxy from the environment cannot reach this machine.
        handlers.append(urllib.request.ProxyHandler({}))
    opener = urllib.request.build_opener(*handlers)
    request = urllib.request.Request(url, headers={"User-Agent": "sparse3d", "Accept-Encoding": "identity"})
    return opener.open(request, timeout=_TIMEOUT_S)
