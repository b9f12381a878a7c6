"""GGUF files of `thinkling export` in a real llama.cpp: the same tokens of texts? the same greedy completions?

    npm install --prefix /tmp/llama node-llama-cpp
    python bench/llama_cpp.py --node /tmp/llama --model thinkling-base --kind F16

Asked are 2,000 documents of the two corpora, and texts with what tokenizers stumble over. A greedy completion may part
where two tokens are almost equally likely: with Q8_0 llama.cpp rounds what goes through the network to 8 bits, too.
"""

import json
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Literal

import tyro

from thinkling.commands.export import SENTENCES, Export
from thinkling.commands.export import main as export
from thinkling.errors import UserError
from thinkling.generate.language_model import LanguageModel
from thinkling.generate.sampling import Sampling
from thinkling.tasks.benchmarks import load_problems
from thinkling.train.pretrain import corpus, reasoning_corpus
from thinkling.train.pretrain.bpe import SPECIAL_TOKENS

SCRIPT = Path(__file__).with_suffix(".mjs")


@dataclass(frozen=True, kw_only=True)
class LlamaCpp:
    """Compare an exported model with what a real llama.cpp makes of it."""

    node: Path
    """The folder into which npm has installed node-llama-cpp."""
    model: str = "thinkling-base"
    kind: Literal["F16", "Q8_0"] = "F16"
    texts: int = 2000
    prompts: int = 8
    new_tokens: int = 40


def asked(node: Path, gguf: Path, rows: list, *what: str) -> list[list[int]]:
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    command = ["node", SCRIPT.resolve(), gguf, *what]
    run = subprocess.run(command, input=lines, capture_output=True, text=True, cwd=node.resolve())
    found = [json.loads(line) for line in run.stdout.splitlines() if line.startswith("[")]
    if len(found) != len(rows):
        raise UserError(f"node: {run.stderr.strip()[-300:] or run.stdout[-300:]}")
    return found


def texts_of(documents: Callable[[str], Iterator], num: int) -> list[str]:
    plain = ("".join(text for text, _ in document if text not in SPECIAL_TOKENS) for document in documents("llama.cpp"))
    return list(islice(plain, num))


def main(bench: LlamaCpp) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "m.gguf"
        export(Export(model=bench.model, gguf=path, kind=bench.kind, max_rows=8))
        model = LanguageModel.load(bench.model, max_rows=8)
        half = bench.texts // 2
        texts = [*texts_of(corpus.documents, half), *texts_of(reasoning_corpus.documents, half), *SENTENCES]
        theirs = asked(bench.node, path, texts, "tokens")
        same = [model.tokenizer.encode(text) == tokens for text, tokens in zip(texts, theirs, strict=True)]
        print(f"llama.cpp: {sum(same):,} of {len(texts):,} texts get the same tokens")
        for text in [text for text, own in zip(texts, same, strict=True) if not own][:5]:
            print(f"    not {text!r}")
        problems = load_problems("builtin", "held-out", bench.prompts)
        prompts = [model.text_prompt(f"Question: {problem.question}\nAnswer:\n") for problem in problems]
        mine = model.complete_all(prompts, Sampling(0.0, max_tokens=bench.new_tokens))
        found = asked(bench.node, path, prompts, "greedy", str(bench.new_tokens))
        ends = set(model.tokenizer.stop_ids)
        pairs = [([t for t in c.tokens if t not in ends], own) for c, own in zip(mine, found, strict=True)]
        print(f"llama.cpp: {sum(one == other for one, other in pairs)} of {len(pairs)} greedy completions are the same")


if __name__ == "__main__":
    try:
        main(tyro.cli(LlamaCpp))
    except UserError as error:
        raise SystemExit(f"llama_cpp.py: {error}") from None
