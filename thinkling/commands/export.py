"""`thinkling export`: a model as one GGUF file, for llama.cpp, Ollama and whatever else reads it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from thinkling.commands.options import ModelSettings
from thinkling.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

    from thinkling.generate.language_model import LanguageModel

SENTENCES = (
    "It's 'quoted', isn't it? \"We'll see,\" he said - and didn't.", "x = 12, y=3.5;  f(x) = 2x + 1,000 \\frac{1}{2}",
    "def add(a, b):\n    return a + b  # 1\n\n\n", "a\tb \t 5\r\n 7 \n  8   9", 
    "¿Qué? Ελληνικά, 日本語, العربية ٣, ½ ² 🙂",
)  # fmt: skip
NUM_TEXTS, NUM_TOKENS = 200, 256
FAR = 0.1  # logits whose mean difference is a tenth of their spread are those of another model


@dataclass(frozen=True, kw_only=True)
class Export(ModelSettings):
    """Write a model as one GGUF file, for llama.cpp, and an Ollama Modelfile beside it.

    The file is read back before it takes its place: the largest difference of logits is told, and whether texts get the
    same tokens.
    """

    gguf: Path
    """The file to write. One that is there is not replaced."""
    kind: Literal["F16", "Q8_0"] = "F16"
    """How matrices are stored: in 16 bits a weight, or in 8.5 in blocks of 32."""


def main(settings: Export) -> None:
    from thinkling.commands.load import language_model
    from thinkling.generate.recommended import recommended
    from thinkling.left_over import of_this_process, remove_left_over
    from thinkling.model.gguf_writer import write_gguf
    from thinkling.model.modelfile import modelfile
    from thinkling.runs import check_place, refused_by_name, write_text

    path = settings.gguf
    check_place(path, folder=False, flag="--gguf")
    if path.suffix != ".gguf":
        raise UserError(f"--gguf {path}: end its name in .gguf, by which such files are known")
    if path.exists():
        raise already(path)
    model = language_model(settings)
    config = model.tokenizer.kept.get("generation_config.json", {})
    context = model.network.config.max_position_embeddings
    beside, text = path.with_name("Modelfile"), modelfile(path.name, model.tokenizer, context, recommended(config))
    if beside.exists() and beside.read_bytes() != text.encode():  # the same text is of an export that was killed
        raise already(beside)
    growing = of_this_process(path, "new", ".gguf")
    remove_left_over(path, "new", ".gguf")
    try:
        with refused_by_name(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        try:
            write_gguf(growing, model.network, model.tokenizer, settings.kind, Path(model.name).name)
        except UserError as error:
            raise UserError(f"{settings.model}: {str(error).replace(str(growing), str(path))}") from None
        told = check(settings.model, model, growing)
        size = growing.stat().st_size
        write_text(beside, text)
        with refused_by_name(path):
            os.replace(growing, path)
    finally:
        growing.unlink(missing_ok=True)
    print(f"{path}: {size / 1e6:.1f} MB, {settings.kind}", *told, sep="\n")
    print(f"{beside}: ollama create {path.stem.lower()} -f {beside}")


def already(path: Path) -> UserError:
    return UserError(f"{path}: already there, and it is not replaced: remove it, or name another --gguf")


def check(name: str, model: LanguageModel, path: Path) -> list[str]:
    """What the file says, beside the model that it was made of. Raises UserError where it is another."""
    import torch

    from thinkling.model.tokenizer import Tokenizer
    from thinkling.model.weights import load_model

    texts = probes()
    mine = [model.tokenizer.encode(text) for text in texts]
    again = Tokenizer.load(path)
    other = [text for text, tokens in zip(texts, mine, strict=True) if again.encode(text) != tokens]
    size = min(NUM_TOKENS, model.network.config.max_position_embeddings)
    rows = torch.tensor([[token for tokens in mine for token in tokens][:size]], device=model.network.device)
    logits = logits_of(model.network, rows)
    largest, mean, spread, same = difference(
        logits, logits_of(load_model(path, rows.device, model.network.dtype), rows)
    )
    if not mean <= FAR * spread:
        raise UserError(f"{name}: read back from GGUF, its logits differ by {mean:.3g} on average, which is too much "
                        "for rounding: please report this; nothing was written")  # fmt: skip
    found = [f"logits, read back: they differ by at most {largest:.2g}, on average by {mean:.2g} (their standard "
             f"deviation is {spread:.2g}); the likeliest token is the same at {same} of {size} places",
             f"tokens, read back: {len(texts) - len(other)} of {len(texts)} texts get the same"]  # fmt: skip
    return found if not other else [*found, f"not the same, for instance: {other[0]!r}"]


def probes() -> list[str]:
    """Sentences with what tokenizers stumble over, and problems with their solutions."""
    from itertools import islice

    from thinkling.tasks.builtin import stream

    problems = islice(stream("train", "export"), NUM_TEXTS - len(SENTENCES))
    return [*SENTENCES, *(f"{problem.question}\n{problem.solution}" for problem in problems)]


def logits_of(network, rows: Tensor) -> Tensor:
    import torch

    with torch.no_grad():
        return network.logits(network(rows)).float()[0]


def difference(one: Tensor, other: Tensor) -> tuple[float, float, float, int]:
    """The largest, the mean, the spread of the first, and at how many places the likeliest token is the same."""
    apart = (one - other).abs()
    same = int((one.argmax(-1) == other.argmax(-1)).sum())
    return float(apart.max()), float(apart.mean()), float(one.std()), same
