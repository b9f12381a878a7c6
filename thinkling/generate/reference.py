"""Generation as it is explained on a blackboard: read everything again for every token. Slow, obvious, the oracle.

Every faster path in this package is tested against `generate`.
"""

import math
from collections.abc import Collection, Sequence

import torch

from thinkling.generate.completion import Completion, check_prompt, columns, finish_reason
from thinkling.generate.distribution import (
    BatchedSampling,
    choose,
    measure,
    not_finite,
    penalise,
    sampling_masks,
    uniforms,
)
from thinkling.generate.sampling import Sampling
from thinkling.model.transformer import Transformer


@torch.inference_mode()
def generate(model: Transformer, prompt: Sequence[int], sampling: Sampling, stop_ids: Collection[int]) -> Completion:
    """Complete one prompt without a cache. Raises UserError if the model's logits are not finite."""
    context = model.config.max_position_embeddings
    check_prompt(prompt, context)
    batch = BatchedSampling([sampling], model.device)
    tokens: list[int] = []
    logprobs: list[float] = []
    measured: list[list[float]] = []
    masks: list[tuple[int, ...]] = []
    for uniform in uniforms(sampling):
        hidden = model(torch.tensor([[*prompt, *tokens]], device=model.device))
        raw = model.logits(hidden[:, -1])
        logits = penalise(raw, batch, [prompt], [tokens])
        token, logprob = choose(logits, batch, torch.tensor([uniform], device=model.device))
        if math.isnan(logprob):
            raise not_finite("the prompt", len(tokens) + 1, model.dtype)
        tokens.append(int(token))
        logprobs.append(float(logprob))
        if batch.measures:
            measured += measure(raw).tolist()
        if batch.keeps:
            masks += sampling_masks(logits, batch)
        confidence = [row[0] for row in measured]
        reason = finish_reason(tokens, confidence, sampling, stop_ids, context - len(prompt))
        if reason:
            break
    more = columns(measured) if sampling.measure else {}
    return Completion(tuple(prompt), tuple(tokens), tuple(logprobs), reason, sampling_mask=tuple(masks), **more)
