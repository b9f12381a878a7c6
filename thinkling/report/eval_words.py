"""What a run's numbers mean, in sentences: for the terminal, the Markdown file and the page alike."""

from thinkling.evaluate.details import Details, Estimate
from thinkling.evaluate.repeats import MOST_SUBSETS
from thinkling.report.tables import MUCH_TRUNCATED, interval

FEW = 300  # problems; below "a few hundred" the usual interval is too narrow (Bowyer et al., arXiv:2503.01747)


def share(estimate: Estimate) -> str:
    return f"{estimate.value:.1%} {interval(estimate.low, estimate.high)}"


def sentences(details: Details) -> list[str]:
    """All that is to be said, the most important first."""
    said = [repeats(details), where_noise_comes_from(details), few(details), *loud(details), unread(details)]
    return [line for line in (*said, finished(details)) if line]


def loud(details: Details) -> list[str]:
    """What may not be overlooked: shares above 5% of answers that say nothing of the model."""
    said = (
        cut_off(details),
        warning(details.looping, "of the completions went round in a loop", "raise the temperature"),
        warning(details.unparsed, "of the responses hold no answer that can be read", "look at the prompt"),
    )
    return [line for line in said if line]


def cut_off(details: Details) -> str:
    return warning(details.truncated, "of the completions were cut off", "raise --max-tokens")


def warning(rate: float, what: str, fix: str) -> str:
    if rate <= MUCH_TRUNCATED:
        return ""
    return f"⚠ {rate:.1%} {what}: the accuracy says less of the model than of that; {fix}."


def unread(details: Details) -> str:
    """Few answers that could not be read: not loud, but not hidden."""
    if not 0 < details.unparsed <= MUCH_TRUNCATED:
        return ""
    what = "problems" if details.num_samples == 1 else "responses"
    return f"{details.unparsed:.1%} of the {what} got no answer that could be read."


def repeats(details: Details) -> str:
    """avg@n, pass@n and maj@n in a line; nothing with one sample."""
    n = details.num_samples
    if n == 1:
        return ""
    exact = "" if details.maj_exact else f" (votes of {MOST_SUBSETS} subsets of each size, drawn with a seed)"
    return (
        f"avg@{n} {share(details.accuracy)}, pass@{n} {share(details.pass_at[-1])}, maj@{n} "
        f"{share(details.maj_at[str(n)])}{exact}."
    )


def where_noise_comes_from(details: Details) -> str:
    """Would more problems help, or more samples? Nothing with one sample, where it cannot be told."""
    noise = details.noise
    if noise is None or noise.error == 0:
        return ""
    now, best = 100 * noise.error, 100 * noise.problems
    start = (f"The standard error is {now:.1f} points; {noise.sampling_share:.0%} of the variance comes from sampling, "
             "the rest from which problems were asked")  # fmt: skip
    if noise.sampling_share >= 0.5:
        return f"{start}: more samples would help, down to {best:.1f} points."
    return (
        f"{start}: more samples would bring it to {best:.1f} points at best, twice as many problems to "
        f"{now / 2**0.5:.1f}: ask more problems."
    )


def few(details: Details) -> str:
    if details.num_problems >= FEW:
        return ""
    how = "Wilson's" if details.num_samples == 1 else "Wilson's, in which samples of one problem are not independent"
    return (f"With fewer than {FEW} problems, mean ± 1.96 standard errors is too narrow (arXiv:2503.01747); the "
            f"intervals here are {how}.")  # fmt: skip


def finished(details: Details) -> str:
    """The accuracy where nothing was cut off, if much was."""
    if details.truncated <= MUCH_TRUNCATED:
        return ""
    if details.finished is None:
        return "No response was finished."
    total, right = details.num_problems * details.num_samples, share(details.finished)
    return f"Of the {details.num_finished:,} responses (of {total:,}) that were finished, {right} are right."


def tokens(details: Details) -> str:
    if not details.thinking_tokens:
        return f"{details.answer_tokens:,.1f} tokens a response (median {details.median_tokens:,.0f})."
    return (f"{details.thinking_tokens:,.1f} tokens of thinking and {details.answer_tokens:,.1f} of answer a response "
            f"(median of both {details.median_tokens:,.0f}).")  # fmt: skip
