"""DeepConf online: stop a trace while it is being written, once the model is no longer sure (arXiv:2508.15260).

A warm-up of full traces shows how sure the model is at its least sure place. Later traces end as soon as they fall
below what most of the warm-up kept; those that finish vote, weighted by confidence, until the vote is clear.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from thinkling.generate.completion import Completion
from thinkling.generate.model import Model
from thinkling.generate.sampling import Sampling
from thinkling.problem import Problem
from thinkling.scale.direct import samples
from thinkling.scale.method import Answer, Kind
from thinkling.scale.scorers import known, trace_confidence
from thinkling.scale.vote import groups, vote
from thinkling.verify.verifier import verifier_of


@dataclass(frozen=True)
class DeepConf:
    """At most `num_samples` traces, the first `warm_up` of them whole.

    keep: the share of the warm-up whose lowest group confidence lies above the threshold: 0.9 stops few, 0.1 most.
    window: tokens in a group. consensus: stop once the leading answer has this share of all weights. wave: traces
    asked at a time.
    """

    sampling: Sampling
    num_samples: int = 16
    warm_up: int = 4
    keep: float = 0.9
    window: int = 16
    template: str = "plain"
    consensus: float = 0.95
    wave: int = 4

    async def __call__(self, model: Model, problem: Problem) -> Answer:
        free = replace(self.sampling, measure=True)
        warm_up = min(self.warm_up, self.num_samples)
        traces = await samples(model, problem, self.template, free, range(warm_up))
        threshold = percentile([self._lowest(model, trace) for trace in traces], 1 - self.keep)
        watched = replace(free, min_confidence=threshold, confidence_window=self.window)
        while len(traces) < self.num_samples and self._share(model, problem, traces, threshold) < self.consensus:
            numbers = range(len(traces), min(len(traces) + self.wave, self.num_samples))
            traces += await samples(model, problem, self.template, watched, numbers)
        weights = self._weights(model, traces, threshold)
        winner = vote(problem, traces, weights if any(weights) else None)
        chosen = winner or traces[0]
        return Answer(chosen.text, verifier_of(problem).extract(chosen.text) if winner else None, tuple(traces))

    def _lowest(self, model: Model, trace: Completion) -> float:
        lowest = trace_confidence(known(trace.confidence, "confidence-group", model), "group", self.window)
        return 0.0 if math.isnan(lowest) else lowest  # 0 is the least that can be

    def _weights(self, model: Model, traces: Sequence[Completion], threshold: float) -> list[float]:
        """A trace weighs its lowest group confidence; one below the threshold, warm-up or not, has no vote."""
        lowest = [self._lowest(model, trace) for trace in traces]
        return [low if low >= threshold and trace.finish_reason != "confidence" else 0.0
                for low, trace in zip(lowest, traces, strict=True)]  # fmt: skip

    def _share(self, model: Model, problem: Problem, traces: Sequence[Completion], threshold: float) -> float:
        """The leading answer's share of all weights; 0 where nobody votes."""
        weight = {id(t): w for t, w in zip(traces, self._weights(model, traces, threshold), strict=True)}
        sums = [math.fsum(weight[id(trace)] for trace in group) for group in groups(problem, traces)]
        return max(sums) / sum(sums) if any(sums) else 0.0


KINDS = (
    Kind("deepconf", "DeepConf's vote of n", "also stops samples that the model is not sure of",
         lambda p: DeepConf(p.sampling, p.budget, template=p.template),
         unit="samples", budget=8, temperature=1.0, measures=True),
)  # fmt: skip


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which `share` of them lie, between the two nearest ones in proportion (numpy's linear rule)."""
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    low = math.floor(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (place - low) * (ordered[high] - ordered[low])
