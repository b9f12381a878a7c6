"""The reading order, and the proof that no module imports upward. Also prints what has grown longest."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]

# Every module, in the order in which data flows: this list is the table of contents.
ORDER = """
errors settings.base settings.asking settings.measuring settings.objective settings.rewards settings.training settings
device runs
model model.config model.cache model.qwen3 model.tokenizer model.weights model.builtin
generate generate.sampling generate.plain generate.graphs generate.engine generate.score generate.stop_strings
generate.language_model
generate.explain generate.connection generate.wire generate.remote generate.replay
verify verify.extract verify.tree verify.units verify.clean verify.tokens verify.build verify.grammar verify.latex
verify.exact verify.numeric verify.arithmetic verify.reals verify.relations verify.equal verify.grade
verify.hostile verify.watched verify.lint verify.audit
tasks tasks.problem tasks.builtin tasks.benchmarks
scale scale.prompts scale.direct scale.scorers scale.vote scale.best_of_n scale.refine scale.judge scale.reward_head
scale.budget_forcing scale.deepconf scale.beam scale.cot_decoding scale.methods
evaluate evaluate.stats evaluate.run evaluate.rounds evaluate.plots evaluate.report
evaluate.frontier evaluate.scale_words evaluate.scale_plots evaluate.scale_terminal evaluate.scale_report
evaluate.command
evaluate.scale_command evaluate.scorers_command
evaluate.grade_command evaluate.lint_command
train train.batch train.adam8bit train.optim train.corpus train.pretrain train.policy train.objective train.exact
train.check_loss train.rewards train.rollout train.process train.lora train.memory train.curriculum train.sampler
train.metrics train.held_out train.doctor train.watchdog train.live train.mirrors train.checkpoint train.step train.grpo
train.reward_head
serve serve.generate serve.chat serve.explain_page serve.explain_picture serve.explain serve.microscope_page
serve.microscope
tour cli
""".split()


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: write imports in full"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def modules() -> dict[str, Path]:
    paths = sorted((ROOT / "thinkling").rglob("*.py"))
    names = (".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for path in paths)
    return dict(zip(names, paths, strict=True))


def test_every_import_points_down() -> None:
    order = ["thinkling", *(f"thinkling.{name}" for name in ORDER)]
    files = modules()
    assert set(files) == set(order)
    for module, path in files.items():
        for target in imports(path):
            if target in files:
                assert order.index(target) < order.index(module), f"{module} imports upward: {target}"


def test_readme_lists_every_file() -> None:
    readme = (ROOT / "README.md").read_text()
    for module, path in modules().items():
        if path.name != "__init__.py":
            assert path.name in readme, f"README's file map lacks {module}"


def test_print_the_longest() -> None:
    files, functions = [], []
    for module, path in modules().items():
        text = path.read_text()
        files.append((text.count("\n"), module))
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                functions.append((node.end_lineno - node.lineno + 1, f"{module}.{node.name}"))
    print("\nlongest files:", *sorted(files)[:-6:-1], sep="\n  ")
    print("longest functions:", *sorted(functions)[:-6:-1], sep="\n  ")
    assert max(functions)[0] <= 80, f"a function wants to be two: {max(functions)}"
    assert max(files)[0] <= 400, f"a file wants to be two: {max(files)}"
