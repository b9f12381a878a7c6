"""What an optimizer step was like: sums over its passes, which ranks put together, and how each token looked."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from torch import Tensor

from thinkling.train.rl.loss import Loss


@dataclass(frozen=True)
class TokenStats:
    """A completion as its last update saw it, token by token: for the microscope (thinkling microscope).

    entropy: of the distribution that the token was drawn from, in nats. ratio: new policy over old. clipped: places of
    the tokens whose gradient the clip has cut off.
    """

    entropy: tuple[float, ...]
    ratio: tuple[float, ...]
    clipped: tuple[int, ...]


@dataclass
class StepTotals:
    """What the passes of a step add up to, over the tokens trained on."""

    entropy: float = 0.0
    clipped: float = 0.0
    kl: float = 0.0
    mismatch: float = 0.0
    mismatch_max: float = 0.0
    weight: float = 0.0  # old policy over sampler
    weight_squared: float = 0.0
    num_tokens: int = 0
    token_stats: dict[tuple[int, int], TokenStats] = field(default_factory=dict)  # of rollout (group, place in it)

    def means(self) -> dict[str, float | None]:
        """What StepMetrics has of it: None, not 0, where no token was trained on."""
        names = ("entropy", "clipped", "kl", "mismatch")
        if not self.num_tokens:
            return dict.fromkeys((*names, "mismatch_max", "ess"))
        found = {name: getattr(self, name) / self.num_tokens for name in names}
        ess = self.weight**2 / (self.num_tokens * self.weight_squared)
        return found | {"mismatch_max": self.mismatch_max, "ess": ess}

    def merge(self, others: Sequence["StepTotals"]) -> None:
        """Be the totals of several ranks, this one's among them, instead of its own."""
        for name in ("entropy", "clipped", "kl", "mismatch", "weight", "weight_squared", "num_tokens"):
            setattr(self, name, sum(getattr(own, name) for own in others))
        self.mismatch_max = max(own.mismatch_max for own in others)
        self.token_stats = {key: stats for own in others for key, stats in own.token_stats.items()}

    def add(
        self, mask: Tensor, entropy: Tensor, difference: Tensor, loss: Loss, keys: Sequence[tuple[int, int]],
        lengths: Sequence[int],
    ) -> None:  # fmt: skip
        """A pass, (B, T) each. difference: log-probabilities of old policy less sampler. keys, lengths: of its rows."""
        own = difference[mask]
        weight = own.clamp(-20, 20).exp()
        self.entropy += float(entropy.sum())
        self.clipped += float(loss.clipped.sum())
        self.kl += float(loss.kl.sum())
        self.mismatch += float(own.abs().sum())
        self.mismatch_max = max(self.mismatch_max, float(own.abs().max()))
        self.weight += float(weight.sum())
        self.weight_squared += float((weight**2).sum())
        self.num_tokens += int(mask.sum())
        columns = (entropy.tolist(), loss.ratio.tolist(), loss.clipped.tolist(), lengths)
        for key, h, r, c, n in zip(keys, *columns, strict=True):
            self.token_stats[key] = TokenStats(tuple(h[:n]), tuple(r[:n]), tuple(i for i in range(n) if c[i]))
