"""What --batch-invariant costs, and what flips without it: the same sampled requests one by one, and all at once with
prompts in chunks, with the flag and without. Counts the texts that differ, and the tokens whose log-probabilities do
in some bit. The sides take turns in one process; the clock is that of the process.
"""

import statistics
import time
from dataclasses import dataclass

import torch
import tyro
from sides import machine, spread

from thinkling.generate.engine import Engine
from thinkling.generate.sampling import Sampling
from thinkling.model.invariant import make_invariant
from thinkling.model.tokenizer import Tokenizer
from thinkling.model.weights import load_model, resolve
from thinkling.tasks.benchmarks import load_problems


@dataclass(frozen=True, kw_only=True)
class Invariant:
    """Measure batch invariance. Example: python bench/invariant.py --dtypes float32 bfloat16"""

    model: str = "thinkling-base"
    dtypes: tuple[str, ...] = ("float32", "bfloat16")
    prompts: int = 16
    max_tokens: int = 64
    turns: int = 3


@torch.inference_mode()
def main(settings: Invariant) -> None:
    s, folder = settings, resolve(settings.model)
    tokenizer = Tokenizer.load(folder)
    prompts = [tokenizer.encode(p.question) for p in load_problems("quantities", "held-out", s.prompts)]
    print(f"{machine(torch.device('cpu'))}\n{s.model}, {s.prompts} requests at temperature 1, {s.turns} turns")
    for dtype in s.dtypes:
        networks = {name: load_model(folder, torch.device("cpu"), getattr(torch, dtype)) for name in ("plain", "flag")}
        make_invariant(networks["flag"])
        ways = {"alone": dict(max_rows=1), "together": dict(max_rows=s.prompts, max_num_batched_tokens=100)}
        rates: dict[tuple[str, str], list[float]] = {}
        said: dict[tuple[str, str], list] = {}
        for _ in range(s.turns):
            for name, network in networks.items():
                for way, how in ways.items():
                    engine = Engine(network, tokenizer.stop_ids, max_length=512, **how)
                    started = time.process_time()
                    ids = [engine.submit(prompt, Sampling(max_tokens=s.max_tokens, seed=i)) for i, prompt in
                           enumerate(prompts)]  # fmt: skip
                    done = {}
                    while engine.busy:
                        done |= dict(engine.step())
                    said[name, way] = [done[number] for number in ids]
                    tokens = sum(len(one.tokens) for one in said[name, way])
                    rates.setdefault((name, way), []).append(tokens / (time.process_time() - started))
        for name in networks:
            pairs = list(zip(said[name, "alone"], said[name, "together"], strict=True))
            flipped = sum(a.tokens != b.tokens for a, b in pairs)
            places = [(x, y) for a, b in pairs for x, y in zip(a.logprobs, b.logprobs, strict=False)]
            bits = statistics.mean(x != y for x, y in places)
            speed = ", ".join(f"{way} {spread(rates[name, way])} tokens/s" for way in ways)
            print(
                f"{dtype:9} {name:5}: {speed}; {flipped} of {len(pairs)} texts differ, {bits:.0%} of log-probabilities"
            )


if __name__ == "__main__":
    main(tyro.cli(Invariant))
