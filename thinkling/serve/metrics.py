"""Counts and times of the server, as Prometheus reads them: text, made when it is asked for."""

import threading
from collections import defaultdict
from collections.abc import Callable

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


class Metrics:
    """`count` and `observe` while the server works; `text` is a page for Prometheus. gauges: read when asked."""

    def __init__(self) -> None:
        self.gauges: dict[str, tuple[str, Callable[[], float]]] = {}
        self._counts: dict[tuple[str, str], float] = defaultdict(float)
        self._times: dict[str, list[float]] = {name: [0.0] * (len(SECONDS) + 2) for name in TIMES}
        self._lock = threading.Lock()

    def count(self, name: str, amount: float = 1, **labels: object) -> None:
        said = ",".join(f'{key}="{escaped(str(value))}"' for key, value in labels.items())
        with self._lock:
            self._counts[name, f"{{{said}}}" if said else ""] += amount

    def observe(self, name: str, seconds: float) -> None:
        with self._lock:
            row = self._times[name]
            row[next((i for i, bound in enumerate(SECONDS) if seconds <= bound), len(SECONDS))] += 1
            row[-1] += seconds

    def text(self) -> str:
        lines = []
        with self._lock:
            for name, help in COUNTERS.items():
                lines += head(f"{name}_total", "counter", help)
                rows = sorted((labels, value) for (own, labels), value in self._counts.items() if own == name)
                lines += [f"thinkling_{name}_total{labels} {value:.15g}" for labels, value in rows]
            for name, help in TIMES.items():
                lines += head(name, "histogram", help)
                *counts, total = self._times[name]
                for i, bound in enumerate([*map(str, SECONDS), "+Inf"]):
                    lines.append(f'thinkling_{name}_bucket{{le="{bound}"}} {sum(counts[: i + 1]):.15g}')
                lines += [f"thinkling_{name}_sum {total:.15g}", f"thinkling_{name}_count {sum(counts):.15g}"]
        for name, (help, value) in self.gauges.items():
            lines += [*head(name, "gauge", help), f"thinkling_{name} {value():.15g}"]
        return "\n".join(lines) + "\n"


def head(name: str, kind: str, help: str) -> list[str]:
    return [f"# HELP thinkling_{name} {help}", f"# TYPE thinkling_{name} {kind}"]


def escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
