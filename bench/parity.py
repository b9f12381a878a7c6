"""Every family beside `transformers`: random small networks, saved by us, loaded by both, compared in float32.

    python bench/parity.py --networks 12

Prints a Markdown table: the largest difference of logits, with and without a cache, and of gradients of a packed
training pass, as a share of the largest; and how many greedy texts of the engine are the same. A test does it too.
"""

import random
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
import tyro
from torch import Tensor

from thinkling.errors import UserError
from thinkling.generate.engine import Engine
from thinkling.generate.sampling import Sampling
from thinkling.generate.score import score_packed
from thinkling.model.cache import KVCache
from thinkling.model.config import FAMILIES, ModelConfig, RopeScaling
from thinkling.model.tokenizer import Tokenizer
from thinkling.model.transformer import Transformer, init_weights
from thinkling.model.weights import resolve, save_model

# Wavelengths at theta 10,000 go from 6 to 60,000 tokens: within 64 tokens some pairs turn often and others hardly.
SCALINGS = (
    None, RopeScaling("linear", 4.0), RopeScaling("llama3", 8.0, 1.0, 6.0, 64),
    RopeScaling("yarn", 4.0, original_max_position_embeddings=64, attention_factor=1.1386294361119891),
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Parity:
    """Compare networks of every family with transformers' own."""

    networks: int = 12
    """Of each family and each kind of RoPE."""
    seed: int = 0


@dataclass(frozen=True)
class Row:
    """Largest differences from transformers, and greedy texts: how many of how many are the same. spread: the standard
    deviation of the logits, beside which the differences are to be seen."""

    spread: float
    logits: float
    cached: float
    gradients: float
    same: int
    texts: int


def drawn(kind: str, choose: Callable[[Sequence], object], scaling: RopeScaling | None) -> ModelConfig:
    """A small network of this family, its shape chosen by `choose`, which takes one of several."""
    heads = choose((2, 4, 6))
    experts = {
        "num_experts": choose((3, 6)), "num_experts_per_tok": choose((1, 2)), "moe_intermediate_size": 24,
        "norm_topk_prob": choose((True, False)), "decoder_sparse_step": choose((1, 2)),
        "mlp_only_layers": choose(((), (0,), (1, 2))),
    }  # fmt: skip
    return ModelConfig(
        model_type=kind, rope_scaling=scaling, vocab_size=choose((1024, 1031)), hidden_size=choose((48, 96)),
        intermediate_size=choose((40, 64)), num_hidden_layers=choose((2, 3)), num_attention_heads=heads,
        num_key_value_heads=choose([k for k in (1, 2, heads) if heads % k == 0]), head_dim=choose((8, 12, 16)),
        max_position_embeddings=256, rope_theta=choose((10_000.0, 1_000_000.0)), rms_norm_eps=choose((1e-6, 1e-5)),
        tie_word_embeddings=choose((True, False)), **(experts if FAMILIES[kind].experts else {}),
    )  # fmt: skip


def make(config: ModelConfig, seed: int) -> Transformer:
    """Random weights far from those at the start, norms and biases uneven, so that a wrong formula shows."""
    model = init_weights(Transformer(config), seed).eval()
    chance = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(5) if weight.ndim > 1 else weight.copy_(0.5 + torch.rand(weight.shape, generator=chance))
    return model


@cache
def tokenizer() -> Tokenizer:
    return Tokenizer.load(resolve("thinkling-base"))


def loaded_by_transformers(model: Transformer) -> torch.nn.Module:
    """The same network, saved as a checkpoint and read by transformers without anything missing or left over."""
    from transformers import AutoModelForCausalLM, logging  # here: it takes seconds to import

    logging.disable_progress_bar()
    with tempfile.TemporaryDirectory() as folder:
        save_model(Path(folder), model, tokenizer())
        theirs, report = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, output_loading_info=True)
    if any(report.values()):
        raise UserError(f"transformers reads another network: {report}")
    return theirs.eval()


def compare(config: ModelConfig, seed: int = 0) -> Row:
    model = make(config, seed)
    theirs = loaded_by_transformers(model)
    tokens = torch.randint(1024, (2, 90), generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        wanted = theirs(tokens).logits
        cache, found = KVCache(config, 2, 96, model.device, model.dtype), []
        for part in (tokens[:, :83], *tokens[:, 83:].split(1, dim=1)):
            found.append(model.logits(model(part, cache)))
            cache.advance(part.shape[1])
        logits = float((model.logits(model(tokens)) - wanted).abs().max())
        cached = float((torch.cat(found, dim=1) - wanted).abs().max())
        prompts = [tokens[0, :70].tolist(), tokens[1, :5].tolist()]
        same = sum(greedy(theirs, prompt, ours) for prompt, ours in zip(prompts, engine(model, prompts), strict=True))
    return Row(float(wanted.std()), logits, cached, gradients(model, theirs, tokens.tolist()), same, len(prompts))


def engine(model: Transformer, prompts: list[list[int]], new_tokens: int = 8) -> list[list[int]]:
    running = Engine(model, (), max_rows=2, max_length=96)
    ids = [running.submit(prompt, Sampling(0.0, max_tokens=new_tokens)) for prompt in prompts]
    done = {}
    while running.busy:
        done.update(running.step())
    return [list(done[i].tokens) for i in ids]


def greedy(theirs: torch.nn.Module, prompt: list[int], ours: list[int]) -> bool:
    """Would they write the same? One pass tells: each token is their likeliest behind those before it."""
    logits = theirs(torch.tensor([prompt + ours[:-1]])).logits[0, len(prompt) - 1 :]
    return logits.argmax(-1).tolist() == ours


def gradients(model: Transformer, theirs: torch.nn.Module, rows: list[list[int]]) -> float:
    """Two prompts with three completions, packed by us, sequence by sequence by them: the largest difference of any
    weight's gradient, as a share of the largest gradient."""
    prompts = [rows[0][:20], rows[1][:7]]
    completions = [[rows[0][20:33], rows[0][40:44]], [rows[1][7:70]]]
    score_packed(model, prompts, completions, 1.0)[0].sum().backward()
    for prompt, own in zip(prompts, completions, strict=True):
        for completion in own:
            logits = theirs(torch.tensor([prompt + completion])).logits[0, len(prompt) - 1 : -1]
            chosen = torch.tensor(completion)[:, None]
            logits.log_softmax(-1).gather(-1, chosen).sum().backward()
    wanted = {name: weight.grad for name, weight in theirs.named_parameters()}
    found = stacked({name: weight.grad for name, weight in model.named_parameters()})
    largest = max(float(gradient.abs().max()) for gradient in wanted.values())
    return max(float((found[name] - gradient).abs().max()) for name, gradient in wanted.items()) / largest


def stacked(named: dict[str, Tensor | None]) -> dict[str, Tensor]:
    """Gradients by transformers' names, which keeps a layer's experts in two tensors. An expert that no token met has
    no gradient with us, and zeros with them."""
    owners: dict[str, dict[int, dict[str, Tensor | None]]] = {}
    for name in [name for name in named if ".experts." in name]:
        owner, _, rest = name.partition(".experts.")
        number, part, _ = rest.split(".")
        owners.setdefault(owner, {}).setdefault(int(number), {})[part] = named.pop(name)
    for owner, experts in owners.items():
        shapes = {part: g.shape for parts in experts.values() for part, g in parts.items() if g is not None}
        full = [
            {part: torch.zeros(shapes[part]) if g is None else g for part, g in experts[i].items()}
            for i in range(len(experts))
        ]
        named[f"{owner}.experts.gate_up_proj"] = torch.stack([torch.cat([e["gate_proj"], e["up_proj"]]) for e in full])
        named[f"{owner}.experts.down_proj"] = torch.stack([e["down_proj"] for e in full])
    return named


def main(settings: Parity) -> None:
    print("| family | RoPE | networks | logits | with a cache | gradients | same greedy text |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for kind in FAMILIES:
        for scaling in SCALINGS:
            chance = random.Random(f"{settings.seed} {kind} {scaling}")
            rows = [compare(drawn(kind, chance.choice, scaling), seed) for seed in range(settings.networks)]
            worst = [max(getattr(row, name) for row in rows) for name in ("logits", "cached", "gradients")]
            shown = " | ".join(f"{value:.0e}" for value in worst)
            same, texts = sum(row.same for row in rows), sum(row.texts for row in rows)
            name = scaling.rope_type if scaling else "plain"
            print(f"| {kind} | {name} | {len(rows)} | {shown} | {same} of {texts} |", flush=True)


if __name__ == "__main__":
    try:
        main(tyro.cli(Parity))
    except UserError as error:
        sys.exit(str(error))
