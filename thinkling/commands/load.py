"""From flags to models, scorers and methods: the one place where a command's settings become the records of the floors.

Imported inside each command's main, since it imports torch.
"""

import os
import sys
from collections.abc import Mapping
from dataclasses import replace

from thinkling.commands.options import ModelSettings, PromptSettings, ScalingSettings, ServerSettings
from thinkling.errors import UserError
from thinkling.generate.data_parallel import DataParallelModel
from thinkling.generate.language_model import LanguageModel
from thinkling.generate.model import Model
from thinkling.generate.openai.balanced import BalancedModel
from thinkling.generate.openai.remote import RemoteModel
from thinkling.generate.recommended import chosen, greedy_thinking
from thinkling.generate.sampling import Sampling
from thinkling.problem import Problem
from thinkling.scale.failures import Failure, refuse, unusable
from thinkling.scale.judge import JudgeScorer
from thinkling.scale.methods import scorer_for
from thinkling.scale.prompts import CHATS, STOPS
from thinkling.scale.scorers import Scorer
from thinkling.tasks.benchmarks import load_problems
from thinkling.words import counted


def language_model(settings: ModelSettings, **more: float) -> LanguageModel:
    """The model that the flags name, its weights loaded here. more: limits of the engine that are no flags of all."""
    return LanguageModel.load(*how_to_load(settings), **limits_of(settings), **more)


def how_to_load(settings: ModelSettings) -> tuple:
    return (settings.model, settings.device, settings.dtype, settings.adapter, settings.quantize,
            settings.batch_invariant)  # fmt: skip


def limits_of(settings: ModelSettings) -> dict[str, float | None]:
    """Of the engine."""
    names = ("max_rows", "max_length", "cache_gb", "max_num_batched_tokens", "speculate")
    return {name: getattr(settings, name) for name in names}


def sampling_for(model: LanguageModel, sampling: Sampling, thinking: bool, **flags: float | None) -> Sampling:
    """`sampling` with the flags' parameters, or else the checkpoint's, or else greedy; what was taken from the
    checkpoint is printed on standard error."""
    parameters = {"temperature": 0.0} | own_sampling(model, flags)
    warn_of_greedy_thinking(model, thinking and parameters["temperature"] == 0)
    return replace(sampling, **parameters)


def own_sampling(model: Model, flags: Mapping[str, float | None]) -> dict[str, float]:
    """What the flags say, or else the checkpoint, which is printed; a model on a server says nothing."""
    parameters, said = chosen(flags, generation_config_of(model))
    if said:
        print(said, file=sys.stderr)
    return parameters


def warn_of_greedy_thinking(model: Model, greedy: bool) -> None:
    warning = greedy_thinking(generation_config_of(model)) if greedy else ""
    if warning:
        print(warning, file=sys.stderr)


def generation_config_of(model: Model) -> Mapping:
    return model.tokenizer.kept.get("generation_config.json", {}) if isinstance(model, LanguageModel) else {}


def flags_of(settings: PromptSettings | ScalingSettings) -> dict[str, float]:
    """The sampling parameters that the person gave."""
    flags = {name: getattr(settings, name, None) for name in ("temperature", "top_k", "top_p", "min_p")}
    return {name: value for name, value in flags.items() if value is not None}


def prompt_sampling(model: LanguageModel, settings: PromptSettings, sampling: Sampling) -> Sampling:
    sampling = replace(sampling, stop=(*sampling.stop, *STOPS.get(settings.template, ())))
    return sampling_for(model, sampling, bool(CHATS.get(settings.template)), **flags_of(settings))


def model_of(settings: ServerSettings) -> Model:
    """The model that the flags name, loaded here, once or several times, or on a server, or on several."""
    size = settings.data_parallel_size
    if settings.server is None and size > 1:
        return DataParallelModel.start(size, *how_to_load(settings), **limits_of(settings))
    if settings.server is None:
        return language_model(settings)
    urls = [url.strip() for url in settings.server.split(",") if url.strip()]
    servers = [on_server(settings, url, settings.model) for url in urls or [settings.server]]
    return servers[0] if len(servers) == 1 else BalancedModel(servers, f"{settings.model} at {', '.join(urls)}")


def on_server(settings: ServerSettings, url: str, name: str) -> RemoteModel:
    key = os.environ.get(settings.api_key_env)
    return RemoteModel(url, name, key, concurrency=settings.max_rows, timeout=settings.timeout)


def problems_of(settings: ScalingSettings) -> tuple[list[Problem], list[Failure]]:
    """The problems that the flags name, and those of them that are skipped, for no answer to them could be right.

    Raises UserError that names the first of those, unless they may be skipped; or if there are no others.
    """
    problems = load_problems(settings.tasks, settings.split, settings.num_problems, columns=settings.columns,
                             shuffle=settings.shuffle_options)  # fmt: skip
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
        judge = JudgeScorer(on_server(settings, settings.judge_server, settings.judge_model), grading)
    return scorer_for(name, template, settings.confidence_window, settings.model, judge)
