"""The engine on one GPU, beside the way it went before its fused pass, and beside transformers: tokens per second, and
the limit that reading the weights sets.

    python bench/gpu_engine.py --out runs/gpu-engine.json

Random weights of a published shape, prompts of random tokens, no stop ids: everyone draws the tokens that it is to. The
sides take turns in one process; what is repeated is warmed up first. `before` is the same engine replaying the
network's own operations, each drawn token seen by the program before it is read. "flat": random weights make nearly all
tokens alike, so that top-p keeps most of the vocabulary, the worst case for whoever draws; in the rows without that
word the logits are as sharp as a trained network's.
"""

import random
import statistics
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
import tyro
from sides import machine, spread, timed

from thinkling.errors import UserError
from thinkling.generate.engine import Engine
from thinkling.generate.sampling import Sampling
from thinkling.model.config import SIZES
from thinkling.model.config_file import config_json
from thinkling.model.transformer import Transformer
from thinkling.runs import write_json

SHARP = 9.0  # logits of a random network then spread by 5.8, so that top-p keeps tens of tokens, as of a trained one
MOST_SECONDS = 40.0  # that transformers' continuous batching gets
Requests = list[tuple[list[int], int]]  # prompts, and how many new tokens each gets


@dataclass(frozen=True, kw_only=True)
class Bench:
    """Measure the engine on a GPU. Example: python bench/gpu_engine.py --only stream --repeats 5"""

    size: str = "Qwen3-0.6B"
    dtype: str = "bfloat16"
    device: str = "cuda"
    repeats: int = 3
    only: tuple[str, ...] = ()
    """Rows of the table; all if none is named."""
    scale: float = 1.0
    """Share of the new tokens, to try it."""
    peer: bool = True
    """Also transformers, where the row has it."""
    out: Path | None = None


@dataclass(frozen=True)
class Work:
    """A row of the table. rows: of the batch at most. sides: who does it; `continuous` is transformers' own engine."""

    name: str
    requests: Requests
    rows: int
    temperature: float = 0.0
    top_p: float = 1.0
    sides: tuple[str, ...] = ("ours", "before", "generate")
    once: bool = False  # neither warmed up nor repeated
    sharp: float = 1.0  # the final norm's weight: the larger, the likelier are a few tokens

    @property
    def num_tokens(self) -> int:
        return sum(num for _, num in self.requests)


def works(vocab_size: int, scale: float) -> list[Work]:
    pick = random.Random(0)

    def prompt(length: int) -> list[int]:
        return [pick.randrange(vocab_size) for _ in range(length)]

    def some(num: int, least: int, most: int, new: tuple[int, int]) -> Requests:
        return [(prompt(pick.randint(least, most)), max(2, round(scale * pick.randint(*new)))) for _ in range(num)]

    return [
        Work("stream", some(1, 64, 64, (256, 256)), 1),
        Work("256 rows, top-p, flat", some(256, 64, 64, (128, 128)), 256, 1.0, 0.9),
        Work("500 x 1,370, flat", some(500, 64, 64, (1370, 1370)), 256, 1.0, 0.9, sides=("ours",), once=True),
        Work("256 rows, top-p", some(256, 64, 64, (128, 128)), 256, 1.0, 0.9, sharp=SHARP),
        Work("500 x 1,370", some(500, 64, 64, (1370, 1370)), 256, 1.0, 0.9, ("ours",), once=True, sharp=SHARP),
        Work("mixed", some(256, 32, 256, (16, 512)), 128, sides=("ours", "before", "continuous"), once=True),
        Work("32 rows", some(32, 64, 64, (128, 128)), 32),
        Work("128 rows", some(128, 64, 64, (128, 128)), 128),
    ]


# --- the sides: each does a row's work, and says how many tokens it drew ---


def ours(model: Transformer, fused: bool) -> Callable[[Work], int]:
    engines: dict[tuple[int, int], Engine] = {}

    def run(work: Work) -> int:
        longest = max(len(prompt) + num for prompt, num in work.requests)
        if (work.rows, longest) not in engines:
            engines.clear()
            engine = engines[work.rows, longest] = Engine(
                model, (), max_rows=work.rows, max_length=longest, cache_gb=60
            )
            if not fused:
                engine.runner.reads_ahead, engine.runner.look_at_weights = False, lambda: None
            if not fused and engine.runner.decoder is not None:
                engine.runner.decoder.fused = None
        engine = engines[work.rows, longest]
        for i, (prompt, num) in enumerate(work.requests):
            engine.submit(prompt, Sampling(work.temperature, top_p=work.top_p, max_tokens=num, seed=i))
        drawn = 0
        while engine.busy:
            drawn += sum(len(outcome.tokens) for _, outcome in engine.step())
        return drawn

    return run


def peer_of(model: Transformer) -> object:
    """transformers' model with the same weights."""
    from transformers import AutoConfig, AutoModelForCausalLM

    stored = config_json(model.config, (0,), "bfloat16")
    config = AutoConfig.for_model(stored.pop("model_type"), **stored)
    with torch.device(model.device):
        peer = AutoModelForCausalLM.from_config(config, dtype=model.dtype)
    peer.load_state_dict(model.state_dict())
    return peer.eval()


def generate(peer: object) -> Callable[[Work], int]:
    from transformers import GenerationConfig

    def run(work: Work) -> int:
        how = {"do_sample": True, "temperature": work.temperature, "top_k": 0, "top_p": work.top_p}
        num, prompts = work.requests[0][1], torch.tensor([prompt for prompt, _ in work.requests], device=peer.device)
        peer.generation_config = GenerationConfig(max_new_tokens=num, pad_token_id=0, **how if work.temperature else {})
        return peer.generate(prompts, attention_mask=torch.ones_like(prompts))[:, prompts.shape[1] :].numel()

    return run


def continuous(peer: object) -> Callable[[Work], int]:
    from transformers import GenerationConfig

    def run(work: Work) -> int:
        longest = max(num for _, num in work.requests)
        config = GenerationConfig(max_new_tokens=longest, eos_token_id=-1, pad_token_id=0, do_sample=False)
        manager = peer.init_continuous_batching(generation_config=config)
        manager.start()
        for prompt, num in work.requests:
            manager.add_request(prompt, max_new_tokens=num, eos_token_id=-1)
        drawn, left, until = 0, len(work.requests), time.monotonic() + MOST_SECONDS
        while left and manager.is_running() and time.monotonic() < until:
            if (found := manager.get_result(timeout=1)) is not None and found.is_finished():
                drawn, left = drawn + len(found.generated_tokens), left - 1
        manager.stop(block=True)
        return drawn

    return run


# --- the measurement ---


def random_network(size: str, device: torch.device, dtype: torch.dtype) -> Transformer:
    with torch.device(device):
        model = Transformer(SIZES[size]).to(dtype)
        for weight in model.parameters():
            if weight.ndim > 1:
                weight.data.normal_(0.0, 0.02)
    return model.eval()


def bytes_per_second(device: torch.device) -> float:
    """What the GPU copies, bytes read and bytes written counted."""
    memory = torch.zeros(2**30, dtype=torch.uint8, device=device)
    other = torch.empty_like(memory)
    other.copy_(memory)
    seconds = min(timed(lambda: [other.copy_(memory) for _ in range(10)], device)[1] for _ in range(3))
    return 20 * memory.numel() / seconds


def measure(work: Work, sides: dict[str, Callable[[Work], int]], repeats: int, device: torch.device) -> dict:
    """Tokens per second of each side, run by run; or why a side has none."""
    rates: dict[str, list[float] | str] = {}
    names = [name for name in work.sides if name in sides]
    for number in range(0 if work.once else -1, 1 if work.once else repeats):  # -1 warms up
        for name in [name for name in names if not isinstance(rates.get(name), str)]:
            try:
                drawn, seconds = timed(lambda name=name: sides[name](work), device)
                if drawn != work.num_tokens:
                    rates[name] = f"drew {drawn:,} of {work.num_tokens:,} tokens in {seconds:.1f} s"
                elif number >= 0:
                    rates.setdefault(name, []).append(drawn / seconds)
                    print(f"{work.name}, {name}: {drawn / seconds:,.0f} tokens/s", file=sys.stderr, flush=True)
            except Exception as error:
                traceback.print_exc()
                rates[name] = f"{type(error).__name__}: {error}"[:200]
    return {"name": work.name, "tokens": work.num_tokens, "rates": rates}


def show(row: dict, limit: float) -> None:
    print(f"\n{row['name']}: {row['tokens']:,} new tokens")
    for name, rates in row["rates"].items():
        if isinstance(rates, str):
            print(f"  {name:11} {rates}")
            continue
        share = f"   {statistics.median(rates) / limit:.0%} of the limit" if row["name"] == "stream" else ""
        print(f"  {name:11}{spread(rates):>28} tokens/s{share}", flush=True)


@torch.inference_mode()
def main(settings: Bench) -> None:
    device, dtype = torch.device(settings.device), getattr(torch, settings.dtype)
    model = random_network(settings.size, device, dtype)
    read = sum(weight.nbytes for weight in model.parameters())  # a tied embedding is there once, and read as the head
    speed = bytes_per_second(device) if device.type == "cuda" else float("nan")
    print(machine(device))
    print(f"{settings.size}, {settings.dtype}: {read / 1e9:.2f} GB of weights; copies at {speed / 1e12:.2f} TB/s, so "
          f"at most {speed / read:,.0f} tokens/s for one stream", flush=True)  # fmt: skip
    sides = {"ours": ours(model, fused=True), "before": ours(model, fused=False)}
    if settings.peer:
        peer = peer_of(model)
        sides |= {"generate": generate(peer), "continuous": continuous(peer)}
    rows = []
    for work in works(model.config.vocab_size, settings.scale):
        if work.name in settings.only or not settings.only:
            for network in (model, peer) if settings.peer else (model,):
                network.model.norm.weight.fill_(work.sharp)
            rows.append(measure(work, sides, settings.repeats, device))
            show(rows[-1], speed / read)
            if settings.out:
                write_json(settings.out, {"machine": machine(device), "bytes_per_second": speed, "weights": read,
                                          "rows": rows})  # fmt: skip


if __name__ == "__main__":
    try:
        main(tyro.cli(Bench))
    except UserError as error:
        sys.exit(str(error))
