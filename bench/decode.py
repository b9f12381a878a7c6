"""Decoding beside `transformers`: new tokens per second and peak memory, the same weights and prompts, in one run.

Each side lives in a process of its own, so that its peak memory is its own, and the runs alternate. Inside the timing
are the cache's making, the prompts' reading and every new token; nothing may stop early. Ours also returns each token's
log-probability; transformers, as it comes, is not asked for it. Left out: compiled graphs and serving engines.
"""

import statistics
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from pathlib import Path

import torch
import tyro
from safetensors import safe_open
from sides import Side, bytes_read_per_second, machine, peak_bytes, spread, timed, weights_of

from thinkling.device import pick_device, pick_dtype
from thinkling.errors import UserError
from thinkling.generate.engine import Engine
from thinkling.generate.reference import generate
from thinkling.generate.sampling import Sampling
from thinkling.model.quantize import quantize
from thinkling.model.tokenizer import Tokenizer
from thinkling.model.transformer import Transformer
from thinkling.model.weights import load_model, resolve
from thinkling.runs import write_json
from thinkling.scale.prompts import render
from thinkling.tasks.builtin import problems

Tokens = list[list[int]]


@dataclass(frozen=True, kw_only=True)
class Decode:
    """Measure decoding beside transformers' generate(). Example: python bench/decode.py --out runs/decode.json"""

    model: str = "thinkling-base"
    """Weights and tokenizer: a built-in model's name or a checkpoint's folder."""
    size: str | None = None
    """Random weights of this shape instead (a name from thinkling/model/config.py), prompts by --model's tokenizer."""
    batches: tuple[int, ...] = (1, 16, 128)
    int8: bool = False
    """Also ours with weights of 8 bits, on a CPU."""
    new_tokens: int = 128
    repeats: int = 5
    device: str = "auto"
    dtype: str = "auto"
    out: Path | None = None
    """Also write everything measured as JSON."""


# --- the three sides: prompts, number of new tokens, temperature (0: greedy) -> the new tokens ---


def ours(folder: Path, device: torch.device, dtype: torch.dtype) -> Callable[..., Tokens]:
    return by_engine(load_model(folder, device, dtype))


def int8(folder: Path, device: torch.device, dtype: torch.dtype) -> Callable[..., Tokens]:
    model = load_model(folder, device, dtype)
    quantize(model)
    return by_engine(model)


def by_engine(model: Transformer) -> Callable[..., Tokens]:
    def run(prompts: Tokens, num_tokens: int, temperature: float) -> Tokens:
        room = max(map(len, prompts)) + num_tokens
        engine = Engine(model, (), max_rows=len(prompts), max_length=room, cache_gb=1000)  # all rows at once
        ids = [engine.submit(p, Sampling(temperature, max_tokens=num_tokens, seed=i)) for i, p in enumerate(prompts)]
        done = {}
        while engine.busy:
            done.update(engine.step())
        return [list(done[i].tokens) for i in ids]

    return run


def plain(folder: Path, device: torch.device, dtype: torch.dtype) -> Callable[..., Tokens]:
    model = load_model(folder, device, dtype)

    def run(prompts: Tokens, num_tokens: int, temperature: float) -> Tokens:
        return [list(generate(model, p, Sampling(temperature, max_tokens=num_tokens), ()).tokens) for p in prompts]

    return run


def transformers(folder: Path, device: torch.device, dtype: torch.dtype) -> Callable[..., Tokens]:
    from transformers import AutoModelForCausalLM, GenerationConfig, logging  # here: only this side's memory holds it

    logging.disable_progress_bar()
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype).to(device).eval()

    def run(prompts: Tokens, num_tokens: int, temperature: float) -> Tokens:
        longest = max(map(len, prompts))
        padded = torch.tensor([[0] * (longest - len(p)) + p for p in prompts], device=device)
        mask = torch.tensor([[0] * (longest - len(p)) + [1] * len(p) for p in prompts], device=device)
        how = {"do_sample": True, "temperature": temperature, "top_k": 0, "top_p": 1.0} if temperature else {}
        model.generation_config = GenerationConfig(max_new_tokens=num_tokens, pad_token_id=0, **how)  # no stop ids
        return model.generate(padded, attention_mask=mask)[:, longest:].tolist()

    return run


def work(pipe: object, side: Callable, folder: Path, device: torch.device, dtype: torch.dtype) -> None:
    """Serve one side: each request is (prompts, number of new tokens, temperature)."""
    run = side(folder, device, dtype)
    loaded = peak_bytes(device)
    while True:
        prompts, num_tokens, temperature = pipe.recv()
        tokens, seconds = timed(lambda p=prompts, n=num_tokens, t=temperature: run(p, n, t), device)
        if [len(row) for row in tokens] != [num_tokens] * len(prompts):
            raise UserError(f"{side.__name__}: some rows do not have {num_tokens} new tokens")
        pipe.send({"seconds": seconds, "tokens": tokens, "loaded": loaded, "peak": peak_bytes(device)})


# --- the measurement ---


def measure(settings: Decode, folder: Path, prompts: Tokens, device: torch.device, dtype: torch.dtype) -> list[dict]:
    """One row per batch size and way to draw: rates in new tokens per second, peaks in bytes, per side."""
    kinds = (ours, transformers, plain, int8) if settings.int8 else (ours, transformers, plain)
    sides = {side.__name__: Side(work, side, folder, device, dtype) for side in kinds}
    rows = []
    for batch in sorted(settings.batches):  # ascending, as a process's peak never falls
        for temperature in (0.0, 1.0):
            names = [name for name in sides if name != "plain" or (batch, temperature) == (1, 0.0)]
            request = (prompts[:batch], settings.new_tokens, temperature)
            for name in names:
                sides[name].ask(request)  # warm-up
            runs = {name: [] for name in names}
            for _ in range(settings.repeats):
                for name in names:
                    runs[name].append(sides[name].ask(request))
            rates = {n: [batch * settings.new_tokens / r["seconds"] for r in runs[n]] for n in names}
            memory = {n: {"loaded": runs[n][-1]["loaded"], "peak": runs[n][-1]["peak"]} for n in names}
            rows.append({"batch": batch, "temperature": temperature, "rates": rates, "memory": memory})
            show(rows[-1])
    for side in sides.values():
        side.stop()
    return rows


def show(row: dict) -> None:
    medians = {name: statistics.median(rates) for name, rates in row["rates"].items()}
    peaks = {name: {k: f"{v / 2**20:,.0f}" for k, v in m["peak"].items()} for name, m in row["memory"].items()}
    print(f"\nbatch {row['batch']}, {'sampled' if row['temperature'] else 'greedy'}")
    for name, rates in row["rates"].items():
        memory = ", ".join(f"{kind} {size} MiB" for kind, size in peaks[name].items())
        print(f"  {name:14}{spread(rates):>26} tokens/s   peak {memory}")
    for name in ("ours", "int8") if "int8" in medians else ("ours",):
        print(f"  {name} / transformers: {medians[name] / medians['transformers']:.2f}x", flush=True)


def num_weights(folder: Path) -> int:
    """Numbers that a checkpoint stores; a tied head is there once."""
    files = [safe_open(file, "pt") for file in folder.glob("*.safetensors")]
    return sum(prod(file.get_slice(name).get_shape()) for file in files for name in file.keys())  # noqa: SIM118


def agreement(folder: Path, prompts: Tokens, num_tokens: int, device: torch.device) -> dict:
    """The share of greedy tokens that both sides choose alike in float32, and the share of rows equal in full."""
    found = []
    for side in (ours, transformers):
        process = Side(work, side, folder, device, torch.float32)
        found.append(process.ask((prompts, num_tokens, 0.0))["tokens"])
        process.stop()
    pairs = [list(zip(a, b, strict=True)) for a, b in zip(*found, strict=True)]
    tokens = sum(x == y for row in pairs for x, y in row) / sum(map(len, pairs))
    return {"rows": len(pairs), "equal_tokens": tokens, "equal_rows": sum(a == b for a, b in zip(*found, strict=True))}


def main(settings: Decode) -> None:
    device = pick_device(settings.device)
    dtype = pick_dtype(settings.dtype, device)
    tokenizer = Tokenizer.load(resolve(settings.model))
    questions = [problem.question for problem in problems("held-out", max(*settings.batches, 16))]
    prompts = [tokenizer.encode(render("plain", question)) for question in questions]
    with tempfile.TemporaryDirectory() as temporary:
        folder = weights_of(settings.model, settings.size, Path(temporary), dtype)
        lengths = [len(prompt) for prompt in prompts]
        what = f"{settings.size}, random weights" if settings.size else settings.model
        print(f"{machine(device)}\n{what}, {str(dtype).removeprefix('torch.')}")
        print(f"prompts of {min(lengths)}-{max(lengths)} tokens, {settings.new_tokens} new ones for each")
        print(f"{settings.repeats} runs a side, alternating, after a warm-up: median (min-max)", flush=True)
        if device.type == "cpu":
            size, speed = num_weights(folder) * dtype.itemsize, bytes_read_per_second()
            print(f"{size / 1e9:.2f} GB of weights, {speed / 1e9:.1f} GB/s are read: one stream can have "
                  f"{speed / size:.1f} tokens/s, and int8 {speed / size * dtype.itemsize:.1f}", flush=True)  # fmt: skip
        rows = measure(settings, folder, prompts, device, dtype)
        same = agreement(folder, prompts[:16], settings.new_tokens, device)
    rows_equal = f"{same['equal_rows']} of {same['rows']} rows"
    print(f"\ngreedy in float32: {same['equal_tokens']:.2%} of tokens equal, {rows_equal} in full")
    if settings.out:
        write_json(settings.out, {"machine": machine(device), "settings": settings, "rows": rows, "agreement": same})


if __name__ == "__main__":
    try:
        main(tyro.cli(Decode))
    except UserError as error:
        sys.exit(str(error))
