"""Beam search over steps, with any scorer as its guide (Snell et al., arXiv:2408.03314, section 5), and DVTS.

A step is a line. Paths grow step by step; after each, the scorer ranks them, the best few go on and branch out. DVTS
(diverse verifier tree search) is the same in several trees that do not compete, so that one early favourite cannot take
all the paths. No path is ever doubled to fill the beam.
"""

import asyncio
from dataclasses import dataclass, replace
from typing import Any

from thinkling.generate.completion import Completion
from thinkling.generate.model import Model
from thinkling.generate.sampling import Sampling
from thinkling.problem import Problem
from thinkling.scale.direct import seeded
from thinkling.scale.method import Answer, Kind, Parts
from thinkling.scale.prompts import prompt_of
from thinkling.scale.scorers import Scorer, ranked
from thinkling.verify.verifier import verifier_of


@dataclass(frozen=True)
class Path:
    """A response in the making. prompt: what the next step continues; whole: all its steps as one completion."""

    prompt: Any
    whole: Completion | None = None
    ended: bool = False
    score: float = 0.0


@dataclass(frozen=True)
class BeamSearch:
    """`num_paths` paths in `num_trees` trees; after each step a tree keeps its best 1 / `width`, and each branches.

    One tree: beam search. num_paths / width trees: DVTS, each keeping its one best path. step: the string that ends a
    step. sampling.max_tokens holds for a whole path.
    """

    sampling: Sampling
    scorer: Scorer
    num_paths: int = 8
    width: int = 4
    num_trees: int = 1
    template: str = "step-by-step"
    step: str = "\n"
    max_steps: int = 40

    async def __call__(self, model: Model, problem: Problem) -> Answer:
        sampled: list[Completion] = []
        trees = await asyncio.gather(*(self._tree(model, problem, tree, sampled) for tree in range(self.num_trees)))
        best = max((path for tree in trees for path in tree), key=lambda path: (path.ended, path.score))
        return Answer(best.whole.text, verifier_of(problem).extract(best.whole.text), tuple(sampled))

    async def _tree(self, model: Model, problem: Problem, tree: int, sampled: list[Completion]) -> list[Path]:
        size = self.num_paths // self.num_trees
        keep = max(1, size // self.width)
        beam, branches = [Path(prompt_of(model, self.template, problem.question))], size
        for depth in range(self.max_steps):
            growing = [path for path in beam if not path.ended]
            places = [(path, (tree, depth, i, k)) for i, path in enumerate(growing) for k in range(branches)]
            grown = await asyncio.gather(*(self._grow(model, problem, *place, sampled) for place in places))
            ranked = sorted([path for path in beam if path.ended] + grown, key=lambda path: path.score, reverse=True)
            beam, branches = ranked[:keep], self.width
            if all(path.ended for path in beam):
                break
        return beam

    async def _grow(
        self, model: Model, problem: Problem, path: Path, place: tuple[int, ...], sampled: list[Completion]
    ) -> Path:
        """The path and one step more, scored. It ends with the model's own stop, or when its tokens are used up."""
        left = self.sampling.max_tokens - (len(path.whole.tokens) if path.whole else 0)
        sampling = replace(self.sampling, max_tokens=left, stop=(self.step,))
        part = await model.complete(path.prompt, seeded(sampling, problem, "beam", *place))
        sampled.append(part)
        whole = model.joined(path.whole, part) if path.whole else part
        ended = part.stop_string is None or len(whole.tokens) >= self.sampling.max_tokens
        score = ranked(await self.scorer(model, problem, whole))
        return Path(None if ended else model.extend(path.prompt, part), whole, ended, score)


def beam(parts: Parts, diverse: bool) -> BeamSearch:
    """Four paths are kept of each tree; diverse: as many trees as that gives (DVTS)."""
    width = min(4, parts.budget)
    trees = parts.budget // width if diverse else 1
    return BeamSearch(parts.sampling, parts.scorer, parts.budget, width, trees, parts.template)


KINDS = (
    Kind("beam", "beam search with n paths", "searches over steps", lambda p: beam(p, diverse=False), unit="paths",
         budget=8, temperature=1.0, template="step-by-step", scorer="mean-logprob"),
    Kind("dvts", "DVTS with n paths", "searches in several trees", lambda p: beam(p, diverse=True), unit="paths",
         budget=8, temperature=1.0, template="step-by-step", scorer="mean-logprob"),
)  # fmt: skip
