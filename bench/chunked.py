"""What a long prompt costs the others: time to the first token of requests that come while it is read, and the longest
wait between two tokens of those that are being answered, by the budget of tokens a step (--max-num-batched-tokens).

The budget 0 stands for none: every prompt is read whole, as soon as it has a row. All sides take turns in one process,
on the same prompts, each of another client. Requests come by the clock, and wait from then on, even while a step runs.
On a CPU the clock is that of the process, which stands still while others have the core.
"""

import statistics
import time
from dataclasses import dataclass
from itertools import pairwise

import torch
import tyro
from sides import machine

from thinkling.device import pick_device, pick_dtype
from thinkling.generate.engine import Engine
from thinkling.generate.sampling import Sampling
from thinkling.model.config import SIZES
from thinkling.model.transformer import Transformer, init_weights
from thinkling.model.weights import load_model, resolve


@dataclass(frozen=True, kw_only=True)
class Chunked:
    """Measure chunked prefill. Example: python bench/chunked.py --budgets 0 256 512 2048"""

    model: str = "thinkling-base"
    size: str | None = None
    """Random weights of this shape instead, such as Qwen3-0.6B."""
    device: str = "auto"
    budgets: tuple[int, ...] = (0, 128, 256, 512, 2048)
    long: int = 1000
    """Tokens of a long prompt."""
    num_long: int = 4
    """Long prompts that come one right behind the other."""
    answered: int = 8
    """Requests that are being answered when they come."""
    late: int = 6
    """Short requests that come afterwards, one every `every` seconds."""
    every: float = 0.1
    short: int = 60
    max_tokens: int = 40
    repeats: int = 3


CLOCKS = {"cpu": time.process_time, "cuda": time.perf_counter, "mps": time.perf_counter}


@dataclass(frozen=True)
class Run:
    """Seconds. first: of the late ones, to their first token. gap: the longest between two tokens of one request.
    all: to the end."""

    first: list[float]
    gap: float
    all: float


def run(settings: Chunked, engine: Engine) -> Run:
    s, random = settings, torch.Generator().manual_seed(1)
    V, seen, now = engine.model.config.vocab_size, {}, CLOCKS[engine.model.device.type]

    def ask(name: str, length: int, came: float) -> None:
        prompt = torch.randint(V, (length,), generator=random).tolist()
        seen[name] = [came]
        sampling = Sampling(max_tokens=s.max_tokens)
        engine.add(engine.request(prompt, sampling, lambda token: seen[name].append(now()), client=name))

    for number in range(s.answered):
        ask(f"answered {number}", s.short, now())
    while any(len(times) < 4 for times in seen.values()):
        engine.step()
    started, asked = now(), 0
    for number in range(s.num_long):
        ask(f"long {number}", s.long, started)
    while engine.busy or asked < s.late:
        while asked < s.late and now() >= (came := started + (asked + 1) * s.every):
            ask(f"late {asked}", s.short, came)
            asked += 1
        if engine.busy:
            engine.step()
    first = [times[1] - times[0] for name, times in seen.items() if name.startswith("late")]
    gaps = [b - a for name, times in seen.items() if name.startswith("answered")
            for a, b in pairwise(times[1:])]  # fmt: skip
    return Run(first, max(gaps), now() - started)


def spread(values: list[float]) -> str:
    return f"{1e3 * statistics.median(values):6.0f} ms ({1e3 * min(values):.0f}-{1e3 * max(values):.0f})"


@torch.inference_mode()
def main(settings: Chunked) -> None:
    s, where = settings, pick_device(settings.device)
    dtype = pick_dtype("auto", where)
    if s.size:
        model = init_weights(Transformer(SIZES[s.size]), seed=0).to(where, dtype).eval()
    else:
        model = load_model(resolve(s.model), where, dtype)
    print(f"{machine(where)}\n{s.num_long} prompts of {s.long} tokens beside {s.answered} requests; {s.repeats} turns")
    engines = {budget: Engine(model, (), max_rows=32, max_length=1 << (s.long + s.max_tokens).bit_length(),
                              max_num_batched_tokens=budget or 10**9) for budget in s.budgets}  # fmt: skip
    runs: dict[int, list[Run]] = {budget: [] for budget in engines}
    for turn in range(s.repeats + 1):
        for budget, engine in engines.items():
            one = run(s, engine)
            runs[budget] += [one] if turn else []  # the first is a warm-up
    for budget, own in runs.items():
        first = spread([one for each in own for one in each.first])
        gap, whole = spread([each.gap for each in own]), spread([each.all for each in own])
        print(f"budget {budget or 'none':>5}: first token {first}, longest wait {gap}, all {whole}")


if __name__ == "__main__":
    main(tyro.cli(Chunked))
