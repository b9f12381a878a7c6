"""From flags to models, scorers and methods: the one place where a command's settings become the records of the floors.

Imported inside each command's main, since it imports torch.
"""

import os
import sys
from dataclasses import replace

from thinkling.commands.options import ModelSettings, PromptSettings, ScalingSettings
from thinkling.errors import UserError
from thinkling.generate.language_model import LanguageModel
from thinkling.generate.model import Model
from thinkling.generate.openai.remote import RemoteModel
from thinkling.generate.recommended import chosen, greedy_thinking
from thinkling.generate.sampling import Sampling
from thinkling.problem import Problem
from thinkling.scale.failures import Failure, refuse, unusable
from thinkling.scale.judge import Judge
from thinkling.scale.methods import scorer_for
from thinkling.scale.prompts import CHATS
from thinkling.scale.scorers import Scorer
from thinkling.tasks.benchmarks import load_problems
from thinkling.words import counted


def language_model(settings: ModelSettings, **more: float) -> LanguageModel:
    """The model that the flags name, its weights loaded here. more: limits of the engine that are no flags of all."""
    limits = {"max_rows": settings.max_rows, "max_length": settings.max_length, "cache_gb": settings.cache_gb} | more
    return LanguageModel.load(settings.model, settings.device, settings.dtype, settings.adapter, **limits)


def sampling_for(model: LanguageModel, sampling: Sampling, thinking: bool, **flags: float | None) -> Sampling:
    """`sampling` with the flags' parameters, or else the checkpoint's; what those are is printed on standard error."""
    own = model.tokenizer.kept.get("generation_config.json", {})
    parameters, said = chosen(flags, own)
    warning = greedy_thinking(parameters["temperature"], own) if thinking else ""
    for line in filter(None, (said, warning)):
        print(line, file=sys.stderr)
    return replace(sampling, **parameters)


def flags_of(settings: PromptSettings) -> dict[str, float]:
    """The sampling parameters that the person gave."""
    flags = {name: getattr(settings, name) for name in ("temperature", "top_k", "top_p", "min_p")}
    return {name: value for name, value in flags.items() if value is not None}


def prompt_sampling(model: LanguageModel, settings: PromptSettings, sampling: Sampling) -> Sampling:
    return sampling_for(model, sampling, bool(CHATS.get(settings.template)), **flags_of(settings))


def model_of(settings: ScalingSettings) -> Model:
    """The model that the flags name, loaded here or on a server."""
    if settings.server is None:
        return language_model(settings)
    return on_server(settings, settings.server, settings.model)


def on_server(settings: ScalingSettings, url: str, name: str) -> RemoteModel:
    key = os.environ.get(settings.api_key_env)
    return RemoteModel(url, name, key, concurrency=settings.max_rows, timeout=settings.timeout)


def problems_of(settings: ScalingSettings) -> tuple[list[Problem], list[Failure]]:
    """The problems that the flags name, and those of them that are skipped, for no answer to them could be right.

    Raises UserError that names the first of those, unless they may be skipped; or if there are no others.
    """
    problems = load_problems(settings.tasks, settings.split, settings.num_problems)
    failures = unusable(settings.tasks, problems)
    if settings.on_error == "stop":
        refuse(failures, settings.tasks)
    if len(failures) == len(problems):
        raise UserError(f"{settings.tasks}: none of {counted(len(problems), 'problem')} can be measured; {failures[0]}")
    return problems, failures


def scorer_from(settings: ScalingSettings, name: str, template: str) -> Scorer:
    judge = None
    if settings.judge_server is not None:
        grading = Sampling(temperature=0.0, max_tokens=settings.max_tokens, seed=settings.seed)
        judge = Judge(on_server(settings, settings.judge_server, settings.judge_model), grading)
    return scorer_for(name, template, settings.confidence_window, settings.model, judge)
