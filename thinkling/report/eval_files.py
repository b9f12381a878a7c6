"""An eval run's report for people: report.html and report.md in its folder, made from its other files.

Leaves out the page (eval_page.py) and what is said (eval_words.py).
"""

from thinkling.evaluate.details import Estimate
from thinkling.evaluate.saved import Run
from thinkling.report.eval_page import eval_page
from thinkling.report.eval_words import sentences, share, tokens
from thinkling.runs import write_text
from thinkling.words import counted


def write_files(run: Run) -> None:
    write_text(run.folder / "report.md", markdown(run))
    write_text(run.folder / "report.html", eval_page(run))


def markdown(run: Run) -> str:
    details, n = run.details, run.details.num_samples
    times = f", each answered {n} times" if n > 1 else ""
    lines = [f"# {cell(run.name)}", "", f"`{run.report['method']}`, model `{run.settings.get('model')}`, tasks "
             f"`{run.settings.get('tasks')}`: {counted(details.num_problems, 'problem')}{times}.", ""]  # fmt: skip
    lines += ["| | share | 95% interval |", "| --- | --- | --- |"]
    lines.append(line(f"avg@{n}" if n > 1 else "accuracy", details.accuracy))
    if n > 1:
        lines += [line(f"pass@{k}", estimate) for k, estimate in enumerate(details.pass_at, start=1)]
        lines += [line(f"maj@{k}", estimate) for k, estimate in details.maj_at.items()]
    if details.finished is not None and details.truncated:
        lines.append(line("of what was finished", details.finished))
    lines += [f"| cut off | {details.truncated:.1%} | |", f"| in a loop | {details.looping:.1%} | |",
              f"| no answer read | {details.unparsed:.1%} | |", ""]  # fmt: skip
    lines += [f"- {sentence}" for sentence in [*sentences(details), tokens(details)]]
    for name, parts in details.parts.items():
        lines += ["", f"## By {name}", "", f"| {name} | problems | accuracy |", "| --- | --- | --- |"]
        lines += [f"| {cell(part.name)} | {part.num_problems:,} | {share(part.accuracy)} |" for part in parts]
    for name, found in (("Hardest", details.hardest), ("Least consistent", details.inconsistent)):
        if found:
            lines += ["", f"## {name}", "", "| problem | row | right |", "| --- | --- | --- |"]
            lines += [f"| {cell(one.id)} | {one.row} | {one.num_correct} of {one.num_samples} |" for one in found]
    return "\n".join(lines) + "\n"


def line(name: str, estimate: Estimate) -> str:
    return f"| {name} | {estimate.value:.1%} | {share(estimate).partition(' ')[2]} |"


def cell(text: str) -> str:
    """Text that cannot end its cell, or be markup."""
    flat = " ".join(text.encode("utf-8", "replace").decode("utf-8").split())
    return flat.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("`", "\\`").replace("[", "\\[")
