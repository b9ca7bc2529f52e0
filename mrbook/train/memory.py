"""Keep freed memory for the next step instead of handing it back to the system and asking again."""

import contextlib
import ctypes
import sys
from collections.abc import Iterator

__all__ = ["kept_memory"]

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # M_* of malloc.h


@contextlib.contextmanager
def kept_memory() -> Iterator[None]:
    """Within this, glibc keeps large blocks; elsewhere than on Linux it does nothing.

    A training step frees and takes the same megabytes again and again. By default each of them is
    mapped anew, and every page is cleared when it is first touched, which takes longer than many an
    operation.
    """
    mallopt = None
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        mallopt = getattr(libc, "mallopt", None)
    if mallopt is None:
        yield
        return
    mallopt(_MMAP_THRESHOLD, 1 << 30)
    mallopt(_TRIM_THRESHOLD, 1 << 30)
    try:
        yield
    finally:
        mallopt(_MMAP_THRESHOLD, 128 << 10)  # glibc's defaults
        mallopt(_TRIM_THRESHOLD, 128 << 10)
        libc.malloc_trim(0)
