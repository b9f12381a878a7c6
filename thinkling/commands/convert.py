"""`thinkling convert FILE.pth --out FOLDER`: the weights of Raschka's book as a standard checkpoint."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from thinkling.checks import above_zero, at_least, finite
from thinkling.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Convert:
    """Make a standard checkpoint of a .pth file of "Build a Reasoning Model (From Scratch)".

    Read are tensors and nothing else: a file that asks for more, which could run code, is refused.
    """

    file: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="FILE.pth")]
    """A state dict of the book's Qwen3 network, such as qwen3-0.6B-base.pth, or one that was trained from it."""
    out: Path
    """The checkpoint's folder."""
    tokenizer: str
    """The tokenizer.json that the book's code fetches beside the weights (tokenizer-base.json is the base model's), or
    a model that has the same tokenizer."""
    rope_theta: float = 1_000_000.0
    """Of RoPE; weights do not say it."""
    context: int = 40_960
    """Positions, likewise."""

    def __post_init__(self) -> None:
        finite(self)
        above_zero(rope_theta=self.rope_theta)
        at_least(1, context=self.context)


def main(settings: Convert) -> None:
    from thinkling.model.state_dict import network_of
    from thinkling.model.weights import save_model

    if not settings.file.is_file():
        raise UserError(f"{settings.file}: no such file")
    tokenizer = tokenizer_of(settings)
    network = network_of(settings.file, settings.rope_theta, settings.context)
    if tokenizer.num_ids > network.config.vocab_size:
        raise UserError(f"{settings.tokenizer}: has {tokenizer.num_ids:,} tokens, and {settings.file} has rows for "
                        f"{network.config.vocab_size:,}: it belongs to another model")  # fmt: skip
    save_model(settings.out, network, tokenizer)
    size = f"{network.config.num_parameters() / 1e6:,.1f} million weights, {str(network.dtype).split('.')[1]}"
    print(f"{settings.out}: {size}. Try: thinkling generate 'What is 2 + 2?' --model {settings.out}")


def tokenizer_of(settings: Convert):
    """Of a bare tokenizer.json, the stop tokens are those that the book's code takes: it goes by the file's name."""
    from thinkling.model.tokenizer import Tokenizer, read_backend
    from thinkling.model.weights import resolve

    path = Path(settings.tokenizer)
    if path.suffix != ".json":
        return Tokenizer.load(resolve(settings.tokenizer))
    backend = read_backend(path)
    names = ["<|im_end|>", "<|endoftext|>"]
    base = "base" in path.name.lower() and "reasoning" not in path.name.lower()
    stop_ids = [backend.token_to_id(name) for name in (reversed(names) if base else names)]
    if None in stop_ids:
        raise UserError(f"{path}: has no {' and '.join(names)}: not Qwen3's tokenizer")
    return Tokenizer(backend, tuple(stop_ids))
