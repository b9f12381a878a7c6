"""Parts of `thinkling grpo` on their own: the command's flags in, the records that train/rl takes made of them."""

from thinkling.commands.grpo import (
    Grpo,
    lora_config,
    optimizer_config,
    rollout_config,
    update_config,
    validation_config,
    workload,
)
from thinkling.generate.language_model import LanguageModel
from thinkling.model.transformer import Transformer
from thinkling.problem import Problem
from thinkling.train import memory
from thinkling.train.config import OptimizerConfig
from thinkling.train.lora import add_adapters
from thinkling.train.optim import Optimizer
from thinkling.train.rl import sampler
from thinkling.train.rl.curriculum import Curriculum
from thinkling.train.rl.guard import preflight, validation
from thinkling.train.rl.guard.validation import Validation, Validator
from thinkling.train.rl.rollout import Rollout
from thinkling.train.rl.update import Groups, Updater


def adam(network: Transformer, lr: float, **more: object) -> Optimizer:
    return Optimizer(network, OptimizerConfig(lr=lr, **more))


def optimizer_of(settings: Grpo, network: Transformer) -> Optimizer:
    """Of the weights that the flags have trained: adapters, where they ask for some."""
    lora = lora_config(settings)
    if lora is not None:
        add_adapters(network, lora.rank, lora.alpha, lora.seed)
    return Optimizer(network, optimizer_config(settings))


def updater(
    settings: Grpo, model: LanguageModel, optimizer: Optimizer | None = None, reference: Transformer | None = None
) -> Updater:
    optimizer = optimizer or adam(model.network, 0.0)
    return Updater(model, optimizer, settings.objective, rollout_config(settings), update_config(settings), reference)


def prepare(settings: Grpo, model: LanguageModel, groups: Groups, reference: Transformer | None = None) -> Groups:
    return updater(settings, model, reference=reference).prepare(groups)


def update(settings: Grpo, model: LanguageModel, optimizer: Optimizer, groups: Groups) -> tuple[dict, dict]:
    return updater(settings, model, optimizer).update(groups)


def scored(settings: Grpo, model: LanguageModel, group: list[Rollout], name: str) -> list[Rollout]:
    return updater(settings, model).scored(model.network, group, name)


def passes(settings: Grpo, model: LanguageModel, groups: dict[int, list[Rollout]]) -> list[list[tuple[int, int]]]:
    return list(updater(settings, model).passes(groups))


def gather(settings: Grpo, model: LanguageModel, curriculum: Curriculum, step: int) -> tuple[Groups, Groups]:
    return sampler.gather(rollout_config(settings), model, curriculum, step)


def sampler_of(settings: Grpo, model: LanguageModel, curriculum: Curriculum) -> sampler.Sampler:
    return sampler.Sampler(rollout_config(settings), model, curriculum, settings.steps)


def examine(settings: Grpo, model: LanguageModel, without: frozenset[str] = frozenset()) -> preflight.Findings:
    return preflight.examine(rollout_config(settings), settings.tasks, model, without)


def problems_of(settings: Grpo) -> list[Problem]:
    return validation.problems_of(validation_config(settings), settings.tasks)


def measure(settings: Grpo, model: LanguageModel, step: int) -> Validation:
    return Validator(problems_of(settings), validation_config(settings), rollout_config(settings), model).measure(step)


def plan(settings: Grpo, *shape: object) -> memory.Plan:
    return memory.plan(workload(settings), *shape)


def fixed_parts(settings: Grpo, *shape: object) -> dict[str, float]:
    return memory.fixed_parts(workload(settings), *shape)
