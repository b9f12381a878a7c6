"""`thinkling pretrain`: train a base model from nothing."""

from dataclasses import dataclass

from thinkling.train.pretrain.config import PretrainConfig


@dataclass(frozen=True, kw_only=True)
class Pretrain(PretrainConfig):
    """Train a base model from nothing on generated mathematics: how thinkling-base was made.

    OUT becomes a checkpoint folder that generate, eval and grpo load by its path.
    """


def main(settings: Pretrain) -> None:
    from rich.console import Console

    from thinkling.progress import Progress
    from thinkling.train.pretrain.trainer import PretrainMetrics, train

    with Progress("making text, training the tokenizer") as progress:

        def show(metrics: PretrainMetrics, share: float) -> None:
            speed = metrics.tokens / metrics.seconds
            note = f"step {metrics.step + 1}  loss {metrics.loss:.3f}  {speed:,.0f} tokens/s"
            progress.update(round(100 * share), note, total=100, label="pretraining, percent")

        out = train(settings, show)
    Console().print(f"The model: {out}. Try: thinkling generate --model {out} 'What is 12 + 34?'", highlight=False)
