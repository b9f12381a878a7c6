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
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    from thinkling.train.pretrain.trainer import PretrainMetrics, train

    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[state]}"), TimeElapsedColumn(),
               TimeRemainingColumn())  # fmt: skip
    with Progress(*columns) as bar:
        task = bar.add_task("making text, training the tokenizer", total=None, state="")

        def show(metrics: PretrainMetrics, share: float) -> None:
            speed = metrics.tokens / metrics.seconds
            state = f"step {metrics.step + 1}  loss {metrics.loss:.3f}  {speed:,.0f} tokens/s"
            bar.update(task, description="pretraining", total=1.0, completed=share, state=state)
            if not bar.console.is_terminal and metrics.step % 100 == 0:
                print(f"{state}  {share:.0%}", flush=True)

        out = train(settings, show)
    Console().print(f"The model: {out}. Try: thinkling generate --model {out} 'What is 12 + 34?'", highlight=False)
