"""The flags of `thinkling grpo` that say which servers draw its rollouts, and what is made of them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from thinkling.checks import above_zero, at_least, finite, no_password
from thinkling.errors import UserError

if TYPE_CHECKING:
    from thinkling.generate.language_model import LanguageModel
    from thinkling.train.rl.servers import RolloutServers

PUSHED = "pushed"  # the run's folder of weights for the servers


@dataclass(frozen=True, kw_only=True)
class RolloutServerSettings:
    rollouts: str | None = None
    """Draw rollouts on servers, URL or URL,URL, instead of in this process: vLLM, or thinkling serve
    --allow-weight-updates. Each gets the weights before every step, and proves that it has them."""
    push_folder: Path | None = None
    """Where weights are written for the servers, which must see it too; OUT/pushed, if left out."""
    prove_every: int = 1
    """How many pushes a server may take until it must prove again, as after its first, that it has the weights: what it
    says of a probe text is compared with what this process says. 0: only after the first."""
    prove_tolerance: float | None = None
    """How far the probe's log-probabilities may be apart, in nats, on the average. Default: 0.0001 in float32, 0.05 in
    16 bits; a server of another dtype than this process needs more."""
    rollouts_timeout: float = 300.0
    """Seconds that a server may take for one answer, or for one push."""
    rollouts_wait: float = 300.0
    """Seconds to wait, when all servers are gone, for one to come back."""
    rollouts_key_env: str = "THINKLING_API_KEY"
    """The environment variable that holds the servers' key, if they want one."""

    def __post_init__(self) -> None:
        finite(self)
        at_least(0, prove_every=self.prove_every, rollouts_wait=self.rollouts_wait)
        above_zero(rollouts_timeout=self.rollouts_timeout, prove_tolerance=self.prove_tolerance)
        no_password(self.rollouts_key_env, rollouts=self.rollouts)
        if self.rollouts is not None and not self.urls:
            raise UserError("--rollouts names no server: write it like http://localhost:8000")

    @property
    def urls(self) -> list[str]:
        return [url.strip() for url in (self.rollouts or "").split(",") if url.strip()]

    def check_sampling(self, temperature: float, truncates: bool) -> None:
        """Servers tell log-probabilities at temperature 1 and among all tokens; rollouts must be drawn like that."""
        if self.urls and (temperature != 1 or truncates):
            raise UserError("--rollouts: servers tell log-probabilities at temperature 1 and among all tokens, and "
                            "what is learnt from them must be drawn like that: leave --temperature, --top-p, --top-k "
                            "and --min-p out")  # fmt: skip


def servers_of(
    settings: RolloutServerSettings, out: Path, model: LanguageModel, concurrency: int, max_stale: int = 0
) -> RolloutServers | None:
    """concurrency: requests under way at one server, at most. max_stale: see ServersConfig."""
    from thinkling.generate.openai.exact import ExactServer
    from thinkling.train.rl.servers import RolloutServers, ServersConfig

    if not settings.urls:
        return None
    key = os.environ.get(settings.rollouts_key_env)
    servers = [ExactServer(url, key, concurrency, settings.rollouts_timeout) for url in settings.urls]
    config = ServersConfig(
        folder=settings.push_folder or out / PUSHED, prove_every=settings.prove_every,
        tolerance=settings.prove_tolerance, max_stale=max_stale, patience=settings.rollouts_wait,
    )  # fmt: skip
    return RolloutServers(model, servers, config)
