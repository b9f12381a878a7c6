"""What a policy-gradient step optimises, as a row of choices; the published variants are rows with a name.

The functions that the choices name are in train/rl/terms.py; train/rl/loss.py puts them together.
"""

from dataclasses import dataclass
from typing import Literal

from thinkling.checks import finite
from thinkling.errors import UserError

Advantage = Literal["reward", "mean", "std", "batch-std", "leave-one-out", "whiten", "max-rl", "gdpo"]
Ratio = Literal["token", "sequence", "product"]
Surrogate = Literal["none", "clip", "cispo", "sapo", "clip-wrong-way"]
Aggregation = Literal["sequence", "tokens", "constant"]
Kl = Literal["none", "k1", "k2", "k3", "r*k1", "r*k3", "k1-in-reward"]
Correction = Literal["none", "tis", "icepop"]
Truncated = Literal["counted", "dropped", "masked"]


@dataclass(frozen=True, kw_only=True)
class Objective:
    """The objective of one step. Equations and sources: `thinkling explain-objective`, guide chapter 7."""

    advantage: Advantage = "mean"
    """How good a completion is: its reward, less its group's mean, divided by a deviation, ..."""
    ratio: Ratio = "token"
    """New policy over old: of each token, of the sequence (geometric mean), or the product of all tokens' ratios."""
    surrogate: Surrogate = "clip"
    """clip: PPO's minimum; cispo and sapo: soft ones; clip-wrong-way: the maximum for A < 0, to show what it does."""
    clip_low: float = 0.2
    clip_high: float = 0.2
    """The ratio counts between 1 - clip_low and 1 + clip_high; for cispo, clip_high is the largest ratio itself."""
    dual_clip: float | None = None
    """For A < 0 no value falls below this many times A (arXiv:1912.09729)."""
    ratio_cap: float | None = None
    """No ratio counts more than this, before everything else (two-sided clipping, arXiv:2505.07291)."""
    sapo_positive: float = 1.0
    sapo_negative: float = 1.05
    """SAPO's temperatures tau, for advantages above and below zero."""
    aggregation: Aggregation = "constant"
    """sequence: the mean over a completion's tokens, then over completions. tokens: over all tokens of the step.
    constant: the sum over completions x max_tokens, which no length can change."""
    kl: Kl = "none"
    """Estimator of the KL divergence to the reference model, and where it stands."""
    kl_coef: float = 0.0
    correction: Correction = "none"
    """Weight for tokens that the sampler drew with another probability than the trainer has: capped, or cut."""
    correction_low: float = 0.5
    correction_high: float = 2.0
    sequence_mask: float | None = None
    """Leave out completions with A < 0 that drifted more than this from the old policy, in nats per token."""
    truncated: Truncated = "counted"
    """Completions that were cut off at max_tokens: counted like all others; dropped from the loss and from its
    denominators (overlong filtering); or masked, which leaves them in the denominators, so that the step is smaller."""

    def __post_init__(self) -> None:
        finite(self)
        if not (0 <= self.clip_low <= 1 and self.clip_high >= 0):
            raise UserError("--clip-low must lie between 0 and 1 and --clip-high must be 0 or more, not "
                            f"{self.clip_low} and {self.clip_high}")  # fmt: skip
        if (self.kl == "none") != (self.kl_coef == 0):
            raise UserError(f"--kl is {self.kl} and --kl-coef is {self.kl_coef}: a KL term needs both, and without one "
                            "both are left out (none, 0)")  # fmt: skip
        if self.correction_low > self.correction_high:
            raise UserError(f"correction_low {self.correction_low} is above correction_high {self.correction_high}")

    @property
    def needs_reference(self) -> bool:
        """Does it need log-probabilities of a reference model?"""
        return self.kl != "none"


@dataclass(frozen=True)
class Preset:
    """A published objective. source: paper and equation. deviations: where this row differs from it."""

    objective: Objective
    source: str
    deviations: tuple[str, ...] = ()


PRESETS: dict[str, Preset] = {
    "reinforce": Preset(
        Objective(advantage="reward", surrogate="none"), "Williams 1992, with a constant denominator",
        ("without a baseline; the ratio is 1 on the first step",),
    ),
    "rloo": Preset(
        Objective(advantage="leave-one-out", ratio="product", surrogate="none", aggregation="constant"),
        "Ahmadian et al., arXiv:2402.14740, eq. 7",
        ("no KL in the reward: add kl='k1-in-reward'", "over completions x max_tokens, not over completions"),
    ),
    "grpo": Preset(
        Objective(advantage="std", aggregation="sequence", kl="k3", kl_coef=0.001),
        "DeepSeekMath, arXiv:2402.03300, eq. 3 and 4", ("KL coefficient of DeepSeek-R1 (0.001), not 0.04",),
    ),
    "dr-grpo": Preset(Objective(), "Liu et al., arXiv:2503.20783, section 3.1"),
    "dapo": Preset(
        Objective(advantage="std", clip_high=0.28, aggregation="tokens"), "Yu et al., arXiv:2503.14476, eq. 8",
        ("dynamic sampling and the overlong penalty are flags: --dynamic-sampling 3 --reward correct overlong",
         "no overlong filtering, as in the released code; --truncated dropped is that"),
    ),
    "gspo": Preset(
        Objective(advantage="std", ratio="sequence", clip_low=3e-4, clip_high=4e-4, aggregation="sequence"),
        "Zheng et al., arXiv:2507.18071, eq. 5 to 7",
    ),
    "cispo": Preset(
        Objective(advantage="std", surrogate="cispo", clip_high=5.0, aggregation="tokens"),
        "MiniMax-M1, arXiv:2506.13585, eq. 4 and 5; largest ratio 5 as in ScaleRL, arXiv:2510.13786",
    ),
    "gdpo": Preset(
        Objective(advantage="gdpo", aggregation="tokens"), "arXiv:2601.05242",
        ("the loss around the advantages is DAPO's, with a symmetric clip",
         "it is for several rewards: --reward correct format=0.5"),
    ),
    "sapo": Preset(Objective(advantage="std", surrogate="sapo", aggregation="sequence"), "arXiv:2511.20347"),
    "olmo3": Preset(
        Objective(clip_high=0.272, aggregation="tokens", correction="tis", correction_low=0.0),
        "Olmo 3, arXiv:2512.13961, eq. 1 and 2",
        ("the correction is old policy over sampler, as in the released code",),
    ),
    "deepseek-v3.2": Preset(
        Objective(aggregation="sequence", kl="r*k3", kl_coef=0.001, sequence_mask=0.5),
        "DeepSeek-V3.2, arXiv:2512.02556, section 3.1",
        ("the sequence mask's threshold is not published: 0.5",),
    ),
    "reinforce++": Preset(
        Objective(advantage="whiten", aggregation="tokens", kl="k1-in-reward", kl_coef=0.001),
        "Hu et al., arXiv:2501.03262",
        ("the KL penalty is taken from a completion's reward, not from each token's return",),
    ),
    "max-rl": Preset(Objective(advantage="max-rl", aggregation="tokens"), "arXiv:2602.02710"),
    "the-book": Preset(
        Objective(advantage="std", ratio="product", surrogate="clip-wrong-way", clip_low=0.2, clip_high=0.2,
                  aggregation="constant", kl="k1", kl_coef=0.02),
        "Raschka, Build a Reasoning Model (From Scratch), chapter 7, as published in mid-2026",
        ("shown for what goes wrong: the clip's maximum for A < 0, and k1 in the loss, whose gradient is noise",),
    ),
}  # fmt: skip

PresetName = Literal[*PRESETS]
