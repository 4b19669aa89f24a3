"""Atomic writes: a file is written under another name, made durable, then renamed, so it is never half-written."""

import os
from contextlib import suppress
from pathlib import Path
from uuid import uuid4


def write_atomically(target: Path, content: bytes | memoryview) -> None:
    """Write `content` so that `target` has either its old or its new content, even after a power failure.

    Raises:
        OSError: the content cannot be written; `target` is unchanged.

    Example:
        >>> write_atomically(Path("results.md"), "# Results".encode())
    """
    partial = target.with_name(f".{target.name}.{uuid4().hex}.partial")
    try:
        with partial.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(target)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    sync_folder(target.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable, where the file system can do this."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
