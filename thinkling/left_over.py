"""What a process that was killed left beside the place where it wrote: its unfinished file or folder, of no use to
anybody, and as large as a model.

Its name ends in the number of its process. Left out: Windows, where asking for a process by its number may end it.
"""

import os
import re
import shutil
from pathlib import Path


def of_this_process(path: Path, kind: str, ending: str = "") -> Path:
    """Where this process writes what will be `path`, or keeps what was. ending: of the name, if it matters."""
    return path.with_name(f".{path.name.removesuffix(ending)}.{kind}-{os.getpid()}{ending}")


def remove_left_over(path: Path, kind: str, ending: str = "") -> None:
    """Remove what `of_this_process` named in processes that are gone."""
    mine = re.escape(f".{path.name.removesuffix(ending)}.{kind}-")
    for other in path.parent.glob(".*") if os.name == "posix" else ():
        found = re.fullmatch(rf"{mine}(\d{{1,9}}){re.escape(ending)}", other.name)
        if found is None or is_running(int(found[1])):
            continue
        if other.is_dir() and not other.is_symlink():
            shutil.rmtree(other, ignore_errors=True)
        else:
            other.unlink(missing_ok=True)


def is_running(process: int) -> bool:
    try:
        os.kill(process, 0)  # asks, and does nothing
    except ProcessLookupError:
        return False
    except OSError:  # another person's
        return True
    return True
