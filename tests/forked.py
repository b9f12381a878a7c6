"""A command in a process of its own, which a test may kill: forked from the test's own, so that it imports nothing
anew. What a test has patched is patched there, too."""

import multiprocessing
import os
import sys
import traceback
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path


def start(said: Path, work: Callable[..., object], *arguments: object) -> BaseProcess:
    """work(*arguments) begins. said: the file for all that it prints. Its `exitcode` is 0, that of `sys.exit`, 1 after
    any other error, or minus the signal that killed it."""
    process = multiprocessing.get_context("fork").Process(target=run, args=(said, work, arguments))
    process.start()
    return process


def run(said: Path, work: Callable[..., object], arguments: tuple[object, ...]) -> None:
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # its threads are not in this process
    with said.open("w", buffering=1) as file:
        for stream in (1, 2):
            os.dup2(file.fileno(), stream)
        sys.stdout = sys.stderr = file
        try:
            work(*arguments)
        except Exception:
            traceback.print_exc()
            sys.exit(1)
