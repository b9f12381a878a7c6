"""From the flags of `thinkling grpo` to the records that training takes: what is drawn, what is learnt from it, and
what that asks of memory. settings: commands/grpo.py's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from thinkling.train.memory import Workload
    from thinkling.train.rl.config import RolloutConfig, UpdateConfig


def rollout_config(settings: Any) -> RolloutConfig:
    from thinkling.generate.sampling import Sampling
    from thinkling.scale.prompts import STOPS
    from thinkling.train.rl.config import RolloutConfig

    sampling = Sampling(
        temperature=settings.temperature, top_p=settings.top_p, top_k=settings.top_k, min_p=settings.min_p,
        max_tokens=settings.max_tokens, seed=settings.seed, sampling_mask=True,
        stop=STOPS.get(settings.template, ()),
    )  # fmt: skip
    return RolloutConfig(
        prompts_per_step=settings.prompts_per_step, rollouts_per_prompt=settings.rollouts_per_prompt,
        template=settings.template, sampling=sampling, rewards=settings.reward_weights,
        dynamic_sampling=settings.dynamic_sampling, overlap=settings.overlap, max_stale=settings.max_stale,
    )  # fmt: skip


def update_config(settings: Any) -> UpdateConfig:
    from thinkling.train.rl.config import UpdateConfig

    return UpdateConfig(
        updates_per_batch=settings.updates_per_batch, micro_batch_tokens=settings.micro_batch_tokens,
        process_reward=settings.process_reward, recompute=settings.recompute,
    )  # fmt: skip


def workload(settings: Any) -> Workload:
    """The run as far as memory is concerned."""
    from thinkling.device import pick_device
    from thinkling.train.memory import Workload

    return Workload(
        num_rollouts=settings.prompts_per_step * settings.rollouts_per_prompt, max_tokens=settings.max_tokens,
        max_length=settings.max_length, max_rows=settings.max_rows, cache_gb=settings.cache_gb,
        micro_batch_tokens=settings.micro_batch_tokens, memory_gb=settings.memory_gb, optimizer=settings.optimizer,
        lora_rank=settings.lora_rank, recompute=settings.recompute,
        has_reference=settings.objective.needs_reference and not settings.lora_rank,
        num_copies=settings.max_stale if settings.overlap and not settings.servers.urls else 0,
        on_cpu=pick_device(settings.device).type == "cpu",
    )  # fmt: skip
