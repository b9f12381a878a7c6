"""A disk that is full, for as long as a test wants it."""

import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def room_for(num_bytes: int) -> Iterator[None]:
    """No file may become longer: to whoever writes it, that is a disk that is full.

    Modules are compiled for this process alone meanwhile: Python would cut what it keeps of them, and find it broken
    ever after."""
    (soft, hard), before = resource.getrlimit(resource.RLIMIT_FSIZE), sys.dont_write_bytecode
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, hard))
    sys.dont_write_bytecode = True
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        sys.dont_write_bytecode = before
