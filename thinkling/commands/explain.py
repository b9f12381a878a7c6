"""`thinkling explain`: how the next token is chosen, and a completion followed token by token."""

from dataclasses import dataclass
from pathlib import Path

from thinkling.checks import at_least
from thinkling.commands.options import PromptSettings
from thinkling.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Explain(PromptSettings):
    """Show how the next token is chosen, and follow a completion token by token.

    The flags mean what they mean for generate, so that what is followed is what generate prints. Example:
    thinkling explain "What is 17 * 23?" --temperature 0.8 --top-p 0.9 --out picture.html
    """

    max_tokens: int = 32
    """How far to follow the completion, in tokens."""
    top: int = 10
    """How many of the likeliest next tokens to show."""
    out: Path | None = None
    """A .html or .png file to draw it into as well; an older drawing in its place is replaced, another file is not."""

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(1, top=self.top)
        if self.out is not None and self.out.suffix.lower() not in (".html", ".png"):
            raise UserError(f"--out {self.out} is neither a .html nor a .png file: name one that is")


def main(settings: Explain) -> None:
    from rich.console import Console

    from thinkling.commands.load import flags_of, language_model, prompt_sampling
    from thinkling.generate.explain import explain
    from thinkling.generate.sampling import Sampling
    from thinkling.report.explain_terminal import check_free, show, write
    from thinkling.scale.prompts import prompt_of

    sampling = Sampling(max_tokens=settings.max_tokens, seed=settings.seed, **flags_of(settings))
    if settings.out is not None:
        check_free(settings.out)
    model = language_model(settings)
    sampling = prompt_sampling(model, settings, sampling)
    prompt = prompt_of(model, settings.template, settings.prompt)
    explanation = explain(model, prompt, sampling, settings.top)
    console = Console(highlight=False)
    show(explanation, model.tokenizer, console)
    if settings.out is not None:
        facts = {"model": model.name, "template": settings.template} | {
            field.replace("_", "-"): str(getattr(sampling, field))
            for field in ("temperature", "top_k", "top_p", "min_p", "max_tokens", "seed")
        }
        write(settings.out, explanation, model.tokenizer, facts)
        console.print(f"Drawn into {settings.out}", markup=False, soft_wrap=True)
