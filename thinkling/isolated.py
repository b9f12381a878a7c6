"""Call a function that may hang, crash or misbehave: in a child process, timed, watched, killed when its time is up.

What an audit hook (PEP 578) sees during a call is reported, and what would change the world beyond reading is refused.
It is a linter's eye and a stopwatch, not a sandbox: C code can do what it likes. Memory is limited on request, where
the system can.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from thinkling.errors import UserError

try:
    import resource
except ImportError:  # Windows has none
    resource = None

START_LIMIT = 120.0  # seconds to import the function, and for each warm-up call
ORPHAN_LIMIT = 600  # processor seconds after which a call ends itself, where nobody was left to kill it
REFUSED = "is refused while linting"  # in the message of the PermissionError that a refused act raises


@dataclass(frozen=True)
class Call:
    """What came of one call.

    value: what was returned, as JSON holds it; "<list>", say, for what it does not. `why` says in one line what was
    raised, or how the child ended. touched: what the audit hook saw, as "open '/etc/passwd'"; at most 10.
    """

    ended: Literal["returned", "raised", "killed", "died"]
    value: object = None
    why: str = ""
    seconds: float = 0.0
    touched: tuple[str, ...] = ()


class Isolated:
    """The function MODULE:FUNCTION (or FILE.py:FUNCTION) in a child process; call it with what JSON holds, get a Call.

    A call that takes more than `limit_s` seconds is killed, whatever it does, and the next starts a fresh child. Every
    child first makes the `warm_up` calls, unwatched, so that what is loaded on first use is not held against a call.
    With `watch` false nothing is reported or refused: for a function that may do what it likes. memory: bytes that the
    child may have, 0 for any. Raises UserError where the function cannot be imported. Any thread may call it, one after
    the other; close it, or use `with`.
    """

    def __init__(
        self, target: str, limit_s: float, warm_up: Sequence[tuple] = (), watch: bool = True, memory: int = 0
    ) -> None:
        if not all(target.rpartition(":")[::2]):
            raise UserError(f"'{target}' names no function: give MODULE:FUNCTION or FILE.py:FUNCTION")
        self.target, self.limit_s, self.warm_up, self.watch = target, limit_s, warm_up, watch
        self.memory = memory
        self.lock = threading.Lock()
        self.child: subprocess.Popen | None = None

    def __enter__(self) -> "Isolated":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __call__(self, *arguments: object) -> Call:
        with self.lock:
            if self.child is None:
                self._start()
            return self._ask(arguments, self.watch, self.limit_s)

    def close(self) -> None:
        """Kill the child and all that it started."""
        if self.child is None:
            return
        end(self.child)
        self.child.wait()
        self.child.stdin.close()
        self.child.stdout.close()
        self.child = None

    def _start(self) -> None:
        environment = os.environ | {"PYTHONPATH": os.pathsep.join([os.getcwd(), *filter(None, sys.path)])}
        self.child = subprocess.Popen(
            [sys.executable, "-m", "thinkling.isolated", self.target, str(self.memory)], stdin=subprocess.PIPE,
            env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        first = self._ask(None, watch=False, limit_s=START_LIMIT)
        if first.ended != "returned":
            self.close()
            raise UserError(f"cannot import {self.target}: {first.why}")
        for arguments in self.warm_up:
            if self._ask(arguments, watch=False, limit_s=START_LIMIT).ended in ("killed", "died"):
                raise UserError(f"{self.target} hangs or dies even on an honest answer: {str(arguments)[:200]}")

    def _ask(self, arguments: Sequence | None, watch: bool, limit_s: float) -> Call:
        """Send one call and wait for its outcome; with no arguments, wait for the child to say that it is ready."""
        late = threading.Event()

        def time_is_up(child: subprocess.Popen) -> None:
            late.set()
            end(child)

        start = time.perf_counter()
        alarm = threading.Timer(limit_s, time_is_up, (self.child,))
        alarm.daemon = True
        alarm.start()
        try:
            if arguments is not None:
                self.child.stdin.write(json.dumps([watch, *arguments]).encode() + b"\n")
                self.child.stdin.flush()
            line = self.child.stdout.readline()
        except BrokenPipeError:
            line = b""
        finally:
            alarm.cancel()
            alarm.join()
        seconds = time.perf_counter() - start
        if late.is_set() and line.endswith(b"\n"):
            self.close()  # it answered at the last moment, and was killed nevertheless
        if line.endswith(b"\n"):
            outcome = json.loads(line)
            return Call(**(outcome | {"touched": tuple(outcome["touched"])}), seconds=seconds)
        code = self.child.wait()
        self.close()
        if late.is_set():
            return Call("killed", why=f"still running after {limit_s:g} s", seconds=seconds)
        return Call("died", why=f"the process ended with exit code {code}", seconds=seconds)


def end(child: subprocess.Popen) -> None:
    """Kill a child and, where the system has process groups, all that it started."""
    if hasattr(os, "killpg"):
        with contextlib.suppress(ProcessLookupError):  # it ended on its own
            os.killpg(child.pid, signal.SIGKILL)
    child.kill()


# The child


READING = {"compile", "exec", "import", "pickle.find_class", "os.listdir", "os.scandir", "os.walk", "os.fwalk"}
NOTED = {"compile", "exec", "import", "open", "os", "subprocess", "socket", "shutil", "tempfile", "pickle", "marshal",
         "ctypes", "pty", "urllib", "http", "ftplib", "smtplib", "poplib", "imaplib", "telnetlib", "webbrowser",
         "winreg", "msvcrt", "builtins"}  # fmt: skip
SHOWN = {"compile": "compiles text as Python", "exec": "runs compiled code"}


def describe(event: str, arguments: tuple) -> str | None:
    """An audit event in a few words; None where it harms nobody."""
    if event.partition(".")[0] not in NOTED or event == "builtins.id":
        return None
    if event in SHOWN:
        return SHOWN[event]
    first = arguments[0] if arguments else ""
    return f"{event} {first!r}"[:100] if isinstance(first, str | bytes | int | list | tuple) else event


def changes_something(event: str, arguments: tuple) -> bool:
    """Does it do more than read? Such a call is refused, so that nobody who lints is harmed."""
    if event == "open":
        _, mode, flags = arguments
        return bool(set(mode or "") & set("wax+") or flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
    return event not in READING and not event.startswith(("marshal.", "builtins."))


def load(target: str) -> Callable[..., object]:
    """The function MODULE:FUNCTION or FILE.py:FUNCTION. Raises AttributeError or ImportError where there is none."""
    module_name, _, name = target.rpartition(":")
    if not module_name:
        raise ImportError("the name of a function is missing")
    if module_name.endswith(".py"):
        import importlib.util

        spec = importlib.util.spec_from_file_location("linted", module_name)
        module = sys.modules["linted"] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    else:
        import importlib

        module = importlib.import_module(module_name)
    if not hasattr(module, name):
        raise AttributeError(f"there is no {name} in {module_name}")
    return getattr(module, name)


def as_json(value: object) -> object:
    """The value where JSON has it (or has a number for it, as for a NumPy scalar); else its type's name."""
    if value is None or isinstance(value, bool | str | float):
        return value
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError, RuntimeError):
        return f"<{type(value).__name__}>"


def end_with_nobody_left() -> None:
    """The system kills this process where the coming call computes for too long, should the parent be gone by then."""
    if resource is not None:
        hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
        soft = int(time.process_time()) + ORPHAN_LIMIT
        resource.setrlimit(resource.RLIMIT_CPU, (soft if hard == resource.RLIM_INFINITY else min(soft, hard), hard))


def have_at_most(memory: int) -> None:
    """Whoever asks for more address space gets a MemoryError."""
    if memory and resource is not None:
        with contextlib.suppress(ValueError, OSError):  # macOS knows the limit and takes none
            resource.setrlimit(resource.RLIMIT_AS, (memory, memory))


def serve(target: str, memory: int) -> None:
    """Answer calls, one JSON line each, until standard input ends. What the function prints goes nowhere."""
    answers = os.fdopen(os.dup(1), "wb")
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, 1)
    calls = os.fdopen(os.dup(0), "rb")
    os.dup2(nowhere, 0)  # it cannot read the calls that come next
    watching, touched = False, []

    def hook(event: str, arguments: tuple) -> None:
        if not watching:
            return
        said = describe(event, arguments)
        if said and said not in touched and len(touched) < 10:
            touched.append(said)
        if said and changes_something(event, arguments):
            raise PermissionError(f"{event} {REFUSED}")

    def answer(ended: str, value: object = None, why: str = "") -> None:
        line = {"ended": ended, "value": value, "why": why[:300], "touched": touched}
        answers.write(json.dumps(line).encode() + b"\n")
        answers.flush()

    try:
        function = load(target)
    except BaseException as error:  # also SystemExit: whatever stops the import is the answer
        return answer("raised", why=f"{type(error).__name__}: {error}")
    have_at_most(memory)
    sys.addaudithook(hook)
    answer("returned")
    for line in calls:
        watch, *arguments = json.loads(line)
        touched.clear()
        end_with_nobody_left()
        try:
            watching = watch
            value = as_json(function(*arguments))
            watching = False
            answer("returned", value)
        except BaseException as error:  # also SystemExit and KeyboardInterrupt: a reward may raise nothing at all
            watching = False
            answer("raised", why=" ".join(f"{type(error).__name__}: {error}".split()))


if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]))
