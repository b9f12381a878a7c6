"""Makes quickstart.ipynb: generate, verify, vote, a minute of GRPO, with plots, on the built-in model and offline.

    python notebooks/make_quickstart.py

The cells stand here, as text; the notebook is never edited by hand. A test runs it, with less of everything.
"""

from pathlib import Path

CELLS = [
    ("markdown", """# Quickstart

From a language model that guesses to one that works it out, in a few minutes and with no network: generate, verify,
vote, and a minute of reinforcement learning. Scripts use the same calls; the guide explains what is behind each."""),
    ("code", """import os

from thinkling import LanguageModel, Sampling, load_problems
from thinkling.verify.verifier import verify

PROBLEMS, PROMPTS = int(os.environ.get("PROBLEMS", 100)), int(os.environ.get("PROMPTS", 8))
MINUTES = float(os.environ.get("MINUTES", 1))
model = LanguageModel.load("thinkling-base", device="cpu")
problems = load_problems("builtin", "held-out", PROBLEMS)
print(f"{model.network.config.num_parameters():,} parameters, {len(problems)} problems; the first:")
print(problems[0].question)"""),
    ("markdown", """## Generate

The built-in model has read questions that are answered at once, and others that are explained. The prompt decides."""),
    ("code", """from thinkling.scale.prompts import prompt_of

greedy = Sampling(temperature=0, max_tokens=160)
for template in ("plain", "step-by-step"):
    (completion,) = model.complete_all([prompt_of(model, template, "What is 37 * 24?")], greedy)
    print(f"--- {template}: {len(completion.tokens)} tokens\\n{completion.text}")"""),
    ("markdown", """## Verify

A verdict says correct, incorrect or unparsed, and why."""),
    ("code", """def accuracy(template):
    prompts = [prompt_of(model, template, problem.question) for problem in problems]
    completions = model.complete_all(prompts, greedy)
    verdicts = [verify(problem, c.text) for problem, c in zip(problems, completions, strict=True)]
    return sum(verdict.correct for verdict in verdicts) / len(verdicts)

found = {template: accuracy(template) for template in ("plain", "step-by-step")}
for template, share in found.items():
    print(f"{template}: {share:.0%}")"""),
    ("markdown", """## Vote

A method is code about one problem; `evaluate` runs it over many at a time."""),
    ("code", """from thinkling.evaluate.run import evaluate
from thinkling.scale.vote import SelfConsistency

diverse = Sampling(temperature=1.0, max_tokens=160)
report, samples = evaluate(model, SelfConsistency(diverse, 8), problems)
found["vote of 8"] = report.accuracy
print(f"vote of 8: {report.accuracy:.0%} [{report.low:.0%}, {report.high:.0%}], {report.tokens:.0f} tokens each")"""),
    ("markdown", """## Learn

A minute of GRPO on the plain question. The only reward is a right answer; nobody shows the model how."""),
    ("code", """import tempfile
from pathlib import Path

from thinkling.commands.grpo import Grpo, train

rewards = []
settings = Grpo(out=Path(tempfile.mkdtemp()) / "grpo", minutes=MINUTES, steps=1000, prompts_per_step=PROMPTS,
                device="cpu", eval_every=0, preflight=False)
checkpoint = train(settings, show=lambda shown: rewards.append(getattr(shown, "reward", None)), model=model)
rewards = [reward for reward in rewards if reward is not None]
print(f"{len(rewards)} steps; reward of the first {rewards[0]:.2f}, of the last {rewards[-1]:.2f}")"""),
    ("code", """import matplotlib.pyplot as plt

found["plain, after GRPO"] = accuracy("plain")
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3))
left.plot(rewards)
left.set(title="reward", xlabel="step", ylim=(0, 1))
right.barh(list(found), list(found.values()))
right.set(title=f"accuracy on {len(problems)} held-out problems", xlim=(0, 1))
right.invert_yaxis()
figure.tight_layout()"""),
    ("markdown", """## What next

`thinkling chat --model smollm2-135m` talks to a real language model (98 MB, fetched once). More is in `guide/`."""),
]  # fmt: skip


def notebook() -> object:
    import nbformat  # of the extra `test`

    made = nbformat.v4.new_notebook()
    made.metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    new = {"markdown": nbformat.v4.new_markdown_cell, "code": nbformat.v4.new_code_cell}
    made.cells = [new[kind](text, id=f"cell-{number}") for number, (kind, text) in enumerate(CELLS)]
    return made


if __name__ == "__main__":
    import nbformat

    nbformat.write(notebook(), Path(__file__).with_name("quickstart.ipynb"))
