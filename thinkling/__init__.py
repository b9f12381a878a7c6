"""Turn a language model into a reasoning model, on your own machine. These names are the public face of the package.

    from thinkling import LanguageModel, Sampling, grade, load_problems

    model = LanguageModel.load("thinkling-base")
    problems = load_problems("quantities", "held-out", 8)
    prompts = [f"Question: {p.question}\\nExplain step by step.\\nAnswer:\\n" for p in problems]
    completions = model.complete_all(prompts, Sampling(temperature=0.0, max_tokens=200))
    verdicts = [grade(c.text, p.reference) for c, p in zip(completions, problems)]
    print(completions[0].text)
    print(sum(verdict.correct for verdict in verdicts), "of", len(verdicts))

Each is imported when it is first asked for: `import thinkling` itself loads neither torch nor a model.
"""

from importlib import import_module

__version__ = "0.1.0"

HOMES = {
    "Completion": "thinkling.generate.completion",
    "LanguageModel": "thinkling.generate.language_model",
    "Problem": "thinkling.problem",
    "RemoteModel": "thinkling.generate.openai.remote",
    "Sampling": "thinkling.generate.sampling",
    "UserError": "thinkling.errors",
    "Verdict": "thinkling.verify.math.grade",
    "grade": "thinkling.verify.math.grade",
    "load_problems": "thinkling.tasks.benchmarks",
}
__all__ = [
    "Completion",
    "LanguageModel",
    "Problem",
    "RemoteModel",
    "Sampling",
    "UserError",
    "Verdict",
    "grade",
    "load_problems",
]


def __getattr__(name: str) -> object:
    if name not in HOMES:
        raise AttributeError(f"module 'thinkling' has no attribute {name!r}: it has {', '.join(__all__)}")
    return getattr(import_module(HOMES[name]), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
