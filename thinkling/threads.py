"""How torch's CPU threads wait for each other. It must be said before torch is first imported, so this imports nothing.

GNU OpenMP, which torch's Linux builds bring along, lets threads that wait at a barrier spin. On a machine that does
other work they spin away the time of the very thread that they wait for, and a small model, whose passes are full of
short parallel parts, becomes many times as slow. Threads that sleep are never slow like that. They cost generation
nothing; training on an otherwise idle machine they cost about half its speed (bench/threads.py, docs/results.md), which
OMP_WAIT_POLICY=active gives back to whoever has the machine to himself. Where threads sleep, a small model answers on
one of them: waking a second takes longer than it saves. Otherwise torch takes one per core, and OMP_NUM_THREADS another
number.
"""

import os
import sys

SMALL = 512  # the width of a network whose parallel parts are mostly shorter than the waking of a thread


def wait_passively() -> None:
    """Let threads sleep at barriers, unless the environment says otherwise. Child processes inherit it.

    The command line calls this; a library user's process is his own, so importing thinkling changes nothing in it.
    Where torch is loaded already it comes too late, and does nothing.
    """
    if "torch" not in sys.modules and "GOMP_SPINCOUNT" not in os.environ:
        os.environ.setdefault("OMP_WAIT_POLICY", "passive")


def threads_of(width: int, asked: int) -> int:
    """How many of `asked` threads answer with a network of this width: one, if it is small and threads sleep, unless
    OMP_NUM_THREADS says how many."""
    asleep = os.environ.get("OMP_WAIT_POLICY", "").lower() == "passive" and "OMP_NUM_THREADS" not in os.environ
    return 1 if asleep and width < SMALL else asked
