"""Counts and times of the server, as Prometheus reads them: text, made when it is asked for.

Of a server that is several processes each counts on its own, and whichever is asked adds the others to its own.
"""

import threading
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

SECONDS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)  # the histograms' upper bounds

COUNTERS = {
    "requests": "HTTP requests answered, by path and status",
    "prompt_tokens": "Tokens of prompts",
    "completion_tokens": "Tokens sampled",
    "cancelled": "Requests whose client went away, or that ran out of time",
    "dropped_turns": "Turns of chats that did not fit into the context",
}
TIMES = {
    "first_token_seconds": "From a request's arrival to its first token",
    "request_seconds": "From a request's arrival to its end",
}


@dataclass(frozen=True)
class Snapshot:
    """What one process has counted. counts: by name and labels. times: requests in each of SECONDS, those beyond, and
    the sum of seconds."""

    counts: dict[str, float]
    times: dict[str, list[float]]
    gauges: dict[str, float]


@dataclass(frozen=True)
class Group:
    """The processes of one server. size: how many. others: asks what the others have counted."""

    size: int
    others: Callable[[], Awaitable[list[Snapshot]]]


class Metrics:
    """`count` and `observe` while the server works; `text` is a page for Prometheus. gauges: read when asked."""

    def __init__(self) -> None:
        self.gauges: dict[str, tuple[str, Callable[[], float]]] = {}
        self._counts: dict[str, float] = defaultdict(float)
        self._times: dict[str, list[float]] = {name: [0.0] * (len(SECONDS) + 2) for name in TIMES}
        self._lock = threading.Lock()

    def count(self, name: str, amount: float = 1, **labels: object) -> None:
        said = ",".join(f'{key}="{escaped(str(value))}"' for key, value in labels.items())
        with self._lock:
            self._counts[name + (f"{{{said}}}" if said else "")] += amount

    def observe(self, name: str, seconds: float) -> None:
        with self._lock:
            row = self._times[name]
            row[next((i for i, bound in enumerate(SECONDS) if seconds <= bound), len(SECONDS))] += 1
            row[-1] += seconds

    def snapshot(self) -> Snapshot:
        with self._lock:
            counts, times = dict(self._counts), {name: list(row) for name, row in self._times.items()}
        return Snapshot(counts, times, {name: value() for name, (_, value) in self.gauges.items()})

    def text(self, others: Sequence[Snapshot] = ()) -> str:
        """others: of the same server's other processes; added up."""
        found, lines = total([self.snapshot(), *others]), []
        for name, help in COUNTERS.items():
            lines += head(f"{name}_total", "counter", help)
            rows = sorted((key[len(name) :], value) for key, value in found.counts.items() if named(key) == name)
            lines += [f"thinkling_{name}_total{labels} {value:.15g}" for labels, value in rows]
        for name, help in TIMES.items():
            lines += head(name, "histogram", help)
            *counts, seconds = found.times[name]
            for i, bound in enumerate([*map(str, SECONDS), "+Inf"]):
                lines.append(f'thinkling_{name}_bucket{{le="{bound}"}} {sum(counts[: i + 1]):.15g}')
            lines += [f"thinkling_{name}_sum {seconds:.15g}", f"thinkling_{name}_count {sum(counts):.15g}"]
        for name, (help, _) in self.gauges.items():
            lines += [*head(name, "gauge", help), f"thinkling_{name} {found.gauges[name]:.15g}"]
        return "\n".join(lines) + "\n"


def total(snapshots: Sequence[Snapshot]) -> Snapshot:
    """Of all of a server's processes."""
    counts, gauges = Counter(), Counter()
    for one in snapshots:
        counts.update(one.counts)
        gauges.update(one.gauges)
    columns = {name: zip(*(one.times[name] for one in snapshots), strict=True) for name in TIMES}
    return Snapshot(counts, {name: list(map(sum, rows)) for name, rows in columns.items()}, gauges)


def named(key: str) -> str:
    """The name in a count's key, without its labels."""
    return key.partition("{")[0]


def head(name: str, kind: str, help: str) -> list[str]:
    return [f"# HELP thinkling_{name} {help}", f"# TYPE thinkling_{name} {kind}"]


def escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
