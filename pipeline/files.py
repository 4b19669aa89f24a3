"""Files that are whole or not there: written beside their place, made durable, then renamed."""

import os
from contextlib import suppress
from pathlib import Path
from uuid import uuid4


def write_atomically(target: Path, content: bytes | memoryview) -> None:
    """Write `content` so that `target` has either its old content or the new one, after a power failure too.

    Raises:
        OSError: if it cannot be written; `target` is then as before.

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
    """Make the names in a folder durable; some file systems and Windows do not offer it."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
