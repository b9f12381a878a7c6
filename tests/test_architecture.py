"""The reading order, no import upward, and ARCHITECTURE.md's map, which is made from the first lines of the files.

`python tests/test_architecture.py --refresh` writes the map anew. The last test prints what has grown longest.
"""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "ARCHITECTURE.md"

# Every module, in the order in which data flows: this list is the table of contents.
ORDER = """
anywhere threads allocator errors words checks isolated distributed device runs left_over terminal progress problem
model model.config model.config_file model.tiles model.cache model.packed model.int8 model.transformer model.quantize
model.prepacked model.decode_ops model.decode_blocks model.decode_kernels model.decode_pass model.invariant
model.adapter
model.gguf_file model.gguf_network model.stored model.chat_template model.jinja_template model.thinking
model.gguf_tokenizer model.tokenizer model.package_index model.weights
model.gguf_vocabulary model.gguf_writer model.modelfile model.state_dict
model.builtin
verify verify.verifier
verify.math.prose verify.math.prose.formulas verify.math.prose.denials verify.math.prose.claims
verify.math.prose.extract
verify.math.prose.short_words
verify.math.expressions verify.math.expressions.tree verify.math.expressions.show verify.math.expressions.clean
verify.math.quantities verify.math.quantities.units verify.math.quantities.phrases verify.math.quantities.words
verify.math.expressions.vocabulary verify.math.expressions.tokens verify.math.expressions.parsing
verify.math.expressions.build verify.math.expressions.joins verify.math.expressions.amounts
verify.math.expressions.notation verify.math.expressions.operands verify.math.expressions.vectors
verify.math.expressions.polynomials verify.math.expressions.brackets verify.math.expressions.grammar
verify.math.prose.dates verify.math.prose.forms verify.math.prose.qualifiers verify.math.latex
verify.math.expressions.angles verify.math.expressions.exact
verify.math.expressions.points verify.math.expressions.endless verify.math.expressions.numeric
verify.math.expressions.laurent verify.math.expressions.limits verify.math.expressions.quotients
verify.math.expressions.antiderivatives verify.math.expressions.integrals
verify.math.expressions.atoms
verify.math.expressions.arithmetic verify.math.expressions.matrices verify.math.expressions.reals
verify.math.expressions.inequalities verify.math.expressions.relations verify.math.expressions.residues
verify.math.expressions.free_names
verify.math.rules verify.math.quantities.magnitudes verify.math.expressions.equations
verify.math.equal verify.math.readings verify.math.grade
verify.math verify.choice verify.gym verify.user
verify.adversarial verify.adversarial.hostile verify.adversarial.lint verify.adversarial.audit
tasks tasks.phrasings tasks.scenes tasks.quantities tasks.builtin tasks.gym tasks.rows tasks.columns tasks.options
tasks.choice tasks.published tasks.hub tasks.benchmarks
tasks.contamination
generate generate.sampling generate.recommended generate.completion generate.model generate.distribution
generate.reference generate.thinking_budget generate.memory generate.guesses generate.scheduler generate.jobs
generate.drawing generate.prefixes generate.cuda_graph generate.runner generate.engine generate.engine_thread
generate.score
generate.stop_strings generate.language_model generate.data_parallel generate.explain
generate.openai generate.openai.reply generate.openai.connection generate.openai.format generate.openai.remote
generate.openai.balanced generate.openai.exact
generate.cached
scale scale.prompts scale.failures scale.scorers scale.method scale.direct scale.vote scale.best_of_n scale.refine
scale.judge_protocol scale.judge scale.reward_head scale.budget_forcing scale.deepconf scale.beam
scale.cot_decoding scale.methods
evaluate evaluate.stats evaluate.repeats evaluate.result evaluate.details evaluate.run evaluate.refinement_changes
evaluate.frontier evaluate.sweep evaluate.scorer_quality evaluate.manifest evaluate.saved evaluate.compare
evaluate.choice_ways evaluate.choice_prompts evaluate.choice_server evaluate.multiple_choice evaluate.fresh_numbers
evaluate.quantization
evaluate.ranking evaluate.ranking.votes evaluate.ranking.graph evaluate.ranking.bradley_terry evaluate.ranking.elo
evaluate.ranking.leaderboard
evaluate.judging evaluate.judging.ask evaluate.judging.agreement evaluate.judging.corrected evaluate.judging.bias
evaluate.judging.injections evaluate.judging.reports
report report.palette report.page report.tables report.plots report.eval_plots report.eval_report report.scorer_table
report.formulas report.eval_words report.eval_script report.eval_page report.eval_files
report.compare_words report.compare_page
report.choice_table report.gap_table report.contamination_text report.quantization_table
report.scale_words report.scale_plots report.scale_terminal report.scale_page
report.interval_plots report.model_card report.rank_report report.judge_report
report.explain_words report.explain_page report.explain_picture report.explain_terminal
report.microscope report.microscope_script report.microscope_page
train train.config train.batch train.sharding train.adam8bit train.muon train.optim train.lora train.memory train.plan
train.checkpoint train.trackers train.run
train.pretrain train.pretrain.config train.pretrain.reviews train.pretrain.corpus
train.pretrain.bpe train.pretrain.packing train.pretrain.deeper train.pretrain.trainer
train.rl train.rl.objective train.rl.trajectory train.rl.config train.rl.terms train.rl.loss train.rl.totals
train.rl.exact train.rl.check_loss train.rl.rewards train.rl.rollout train.rl.process_reward train.rl.curriculum
train.rl.weight_push train.rl.servers train.rl.sampler train.rl.metrics train.rl.update train.rl.trainer
train.rl.minimal
train.rl.guard train.rl.guard.validation train.rl.guard.preflight train.rl.guard.watchdog train.rl.live_table
train.sft train.sft.config train.sft.records train.sft.encode train.sft.trainer train.sft.validation
train.sft.stats
train.distill train.distill.teacher train.distill.filters
train.distill.divergence train.distill.soft train.distill.on_policy train.distill.exact
train.head_measure train.reward_head
serve serve.wrapping serve.refusals serve.schema serve.parameters serve.context serve.reply_parser serve.metrics
serve.weights
serve.desk serve.served serve.asks serve.shapes serve.responses serve.methods serve.body serve.security serve.answering
serve.connections serve.openapi serve.side_routes serve.api serve.server serve.channel serve.worker serve.front
serve.talkers serve.far serve.line_editor
serve.reply serve.conversation serve.chat_commands serve.chat serve.arena
serve.web serve.web.tree serve.web.session serve.web.actions serve.web.known serve.web.shelf serve.web.answering
serve.web.transcript serve.web.style serve.web.door serve.web.page serve.web.server
commands commands.options commands.training commands.rollout_servers commands.load commands.generate commands.chat
commands.serve
commands.prompts commands.explain commands.eval commands.compare commands.regrade commands.tasks commands.choice
commands.contamination commands.fresh_numbers commands.quantize_report commands.scale commands.scorers commands.grade
commands.arena commands.rank commands.judge commands.lint_data commands.lint_reward commands.grpo_records commands.grpo
commands.distill_data commands.data commands.sft commands.distill commands.microscope commands.explain_objective
commands.check_loss commands.reward_head commands.pretrain commands.plan commands.export commands.push commands.convert
commands.demo commands.env
flags cli __main__
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


def caption(path: Path) -> str:
    """A file's first sentence: its docstring up to the first full stop or line end that closes it."""
    text = ast.get_docstring(ast.parse(path.read_text())) or ""
    first = text.split("\n\n")[0].replace("\n", " ")
    return first.rstrip(".")


def file_map() -> str:
    """Every module in reading order with its first lines, folder by folder."""
    files, lines, folder = modules(), [], None
    for name in ORDER:
        path = files[f"thinkling.{name}"]
        if path.name == "__init__.py":
            continue
        here = path.parent.relative_to(ROOT)
        if here != folder:
            lines += ["", f"**`{here}/`**", ""]
            folder = here
        said = caption(path)
        lines.append(f"- `{path.name}`: {said}{'' if said.endswith('?') else '.'}")
    return "\n".join(lines).strip() + "\n"


def with_map(page: str) -> str:
    return re.sub(r"(<!-- map -->\n).*(<!-- end of map -->)", lambda m: m[1] + file_map() + m[2], page, flags=re.DOTALL)


def test_every_file_says_what_it_does() -> None:
    for module, path in modules().items():
        if path.name != "__init__.py":
            assert caption(path), f"{module}: its first line must say what it does"


def test_every_file_that_is_named_is_there() -> None:
    """Docstrings named files that had long had other names. Those of a user's own stand in capitals, or before `:`."""
    known = {path.name for folder in ("thinkling", "tests", "bench") for path in (ROOT / folder).rglob("*.py")}
    for module, path in modules().items():
        named = set(re.findall(r"\b[a-z_0-9]+\.py\b(?!:)", path.read_text()))
        assert named <= known, f"{module} names {', '.join(sorted(named - known))}"


def test_the_map_is_made_of_the_files_first_lines() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert page == with_map(page), "run: python tests/test_architecture.py --refresh"


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
    assert max(files)[0] <= 410, f"a file wants to be two: {max(files)}"


if __name__ == "__main__":
    if sys.argv[1:] != ["--refresh"]:
        sys.exit("usage: python tests/test_architecture.py --refresh")
    PAGE.write_text(with_map(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
