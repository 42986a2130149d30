# SPDX-License-Identifier: Apache-2.0
"""Writing a file so that a reader, a kill or a full disk never meets half of it."""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from sparse3d.errors import DataError, DiskFullError

_FULL = {errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)}
_PLACE = {
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.ENOENT,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.EEXIST,
    errno.ENAMETOOLONG,
}


@contextlib.contextmanager
def atomic_file(path: Path) -> Iterator[BinaryIO]:
    """A binary file to write that becomes `path` when the block ends without an error, and vanishes otherwise.

    The bytes go to a temporary file in the same folder (a rename is atomic only inside one file system), are flushed
    to the disk and renamed. The folder is made if it is not there. Raises DiskFullError where the disk or quota is
    full, DataError where the folder cannot be written; the earlier file of that name stays whole in both cases.
    """
    path = Path(path)
    temporary: str | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name[:40]}.", suffix=".tmp", dir=path.parent)
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        # mkstemp makes files that only the owner may read; a result has the permissions any new file would have.
        if os.name == "posix":
            os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
        temporary = None
    except OSError as error:
        if error.errno in _FULL:
            raise DiskFullError(
                f"{path} could not be written: {error.strerror}; the previous version of the file, if any, is still "
                "whole. Free some space and try again."
            ) from error
        if error.errno in _PLACE:
            raise DataError(f"{path} could not be written: {error.strerror}; choose another place.") from error
        raise
    finally:
        if temporary is not None:
            with contextlib.suppress(OSError):
                os.unlink(temporary)


def _umask() -> int:
    # The mask can only be read by setting it; both calls are immediate and the value is put back.
    mask = os.umask(0)
    os.umask(mask)
    return mask
