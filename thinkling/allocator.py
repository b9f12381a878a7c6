"""How the C library keeps memory that was freed. It must be said early, so this imports nothing heavy.

GNU's malloc hands a large block back to the operating system as soon as it is freed, and fetches it anew, page by page
and full of zeros, for the next pass of a model. A model's passes need the same blocks again and again, and here they
are kept (bench/threads.py --malloc kept; docs/results.md). Left out: other systems and C libraries, which have their
own ways; what is kept counts as the process's until it ends.
"""

import ctypes
import os

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # names of mallopt(3)
KEPT = 2**29  # bytes that may stay free
LARGEST = 2**25  # bytes of a block that is kept, the most that mallopt takes


def keep_freed_memory() -> None:
    """Let freed memory stay with the process, unless the environment says how malloc is to behave.

    The command line calls this; a library user's process is his own, so importing thinkling changes nothing in it.
    """
    if any(name.startswith("MALLOC_") or name == "GLIBC_TUNABLES" for name in os.environ):
        return
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # another C library
        return
    mallopt(TRIM_THRESHOLD, KEPT)
    mallopt(MMAP_THRESHOLD, LARGEST)
