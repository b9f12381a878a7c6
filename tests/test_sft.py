"""Learning from given replies: which tokens are trained, that packing changes nothing, and that a run resumes."""

import json
import math
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from full_logits import score
from test_cli import fails
from test_own_template import OPENS, SMOLLM2, with_template

from thinkling import cli
from thinkling.commands import sft
from thinkling.commands.sft import Sft
from thinkling.errors import UserError
from thinkling.generate import score as scoring
from thinkling.generate.completion import Completion
from thinkling.generate.language_model import LanguageModel
from thinkling.model.chat_template import render_chat
from thinkling.model.tokenizer import Tokenizer
from thinkling.model.transformer import Transformer
from thinkling.model.weights import load_model, resolve, save_model
from thinkling.train import checkpoint
from thinkling.train.batch import packs
from thinkling.train.config import LoraConfig, OptimizerConfig
from thinkling.train.sft.config import SftConfig
from thinkling.train.sft.encode import example_of, examples_of
from thinkling.train.sft.records import Record, chat_row, load_records, tags_complaint
from thinkling.train.sft.stats import stats_of
from thinkling.train.sft.trainer import SftMetrics, Trainer, alarm, nats
from thinkling.train.sft.validation import kept_aside, validation_of

ASKED = {"role": "user", "content": "What is 2 + 2?"}
THOUGHT = {"role": "assistant", "content": "It is 4.", "reasoning_content": "2 and 2"}
BOOK = {"problem": "1 + 2?", "gtruth_answer": "3", "message_thinking": "one, two", "message_content": r"\boxed{3}"}


def write(path: Path, *rows: dict) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def record(tmp_path: Path, *rows: dict) -> Record:
    return load_records(write(tmp_path / "rows.jsonl", *rows))[-1]


def text(model: LanguageModel, example: Completion) -> tuple[str, str]:
    return model.tokenizer.decode(example.prompt_tokens), model.tokenizer.decode(example.tokens)


# --- records ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("row", "question", "thinking", "content", "reference"),
    [
        ({"messages": [ASKED, THOUGHT], "reference": "4"}, ASKED["content"], "2 and 2", "It is 4.", "4"),
        ({"messages": [ASKED, {"role": "assistant", "content": "<think>\n2 and 2\n</think>\n\nIt is 4."}]},
         ASKED["content"], "2 and 2", "It is 4.", None),
        ({"question": "1 + 2?", "response": "3", "reference": 3}, "1 + 2?", "", "3", "3"),
        ({"question": "1 + 2?", "answer": "1 + 2 = 3\n#### 3"}, "1 + 2?", "", "1 + 2 = 3\n#### 3", "3"),
        ({"problem": "1 + 2?", "solution": "It is 3", "answer": "3"}, "1 + 2?", "", "It is 3", "3"),
        (BOOK, "1 + 2?", "one, two", r"\boxed{3}", "3"),
    ],
)  # fmt: skip
def test_every_form_is_read(
    tmp_path: Path, row: dict, question: str, thinking: str, content: str, reference: str | None
) -> None:
    found = record(tmp_path, row)
    assert (found.question, found.thinking, found.content) == (question, thinking, content)
    assert (found.problem and found.problem.reference) == reference


def test_each_assistants_turn_is_a_record(tmp_path: Path) -> None:
    more = {"role": "user", "content": "And 3 + 3?"}
    path = write(tmp_path / "rows.jsonl", {"messages": [ASKED, THOUGHT, more, THOUGHT], "reference": "4"})
    first, second = load_records(path)
    assert [m["content"] for m in second.messages] == ["What is 2 + 2?", "It is 4.", "And 3 + 3?"]
    assert second.messages[1]["reasoning_content"] == "2 and 2"
    assert (len(first.messages), first.problem, second.problem.question) == (1, None, "And 3 + 3?")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"messages": [ASKED]}, "the last turn is the user's, so there is no reply"),
        ({"messages": [THOUGHT]}, "turn 1 is the assistant's, but what stands before it is no user's"),
        ({"messages": "hello"}, "'messages' must be a list of turns, not str"),
        ({"messages": [ASKED, {"role": "robot", "content": ""}]}, "message 2: the role must be"),
        ({"question": "1 + 1?", "reference": "2"}, "no reply to learn: it needs 'messages', 'response'"),
        ({"response": "2"}, r"neither 'messages' nor a 'question' .*; it has \['response'\]"),
        ({"question": "q", "response": "<think>hm"}, "the think tags are not one pair but <think>"),
        (
            {"question": "q", "response": "<think>a</think>b</think>c"},
            "the think tags are not one pair but <think> </think> </think>",
        ),
        ({"question": "q", "response": "So <think>a</think>b"}, "something stands before <think>"),
        ({"question": "q", "response": "<think>a</think> "}, "nothing stands after </think>"),
        (BOOK | {"message_content": "<think>x</think>3"}, "has its thinking in a field and <think> tags as well"),
    ],
)
def test_a_row_that_is_none_is_named(tmp_path: Path, row: dict, message: str) -> None:
    with pytest.raises(UserError, match=rf"rows.jsonl, row 2.*: {message}"):
        record(tmp_path, BOOK, row)


def test_a_chat_row_comes_back(tmp_path: Path) -> None:
    row = chat_row([ASKED], "<think>\n2 and 2\n</think>\n\nIt is 4.", reference="4")
    assert row == {"messages": [ASKED, THOUGHT], "reference": "4"}
    assert record(tmp_path, row).response == "<think>\n2 and 2\n</think>\n\nIt is 4."
    assert tags_complaint("no tags") is None


# --- which tokens are trained -------------------------------------------------------------------------------------


def test_a_plain_reply_and_its_end_are_trained(tiny: LanguageModel, tmp_path: Path) -> None:
    example = example_of(tiny, record(tmp_path, {"question": "1 + 2?", "response": "It is 3"}), "plain")
    assert example.prompt_tokens == tuple(tiny.text_prompt("Question: 1 + 2?\nAnswer:\n"))
    end = tiny.tokenizer.special_id("<|endoftext|>")
    assert example.tokens == (*tiny.tokenizer.encode("It is 3"), end)
    assert example.text == "It is 3"
    other = Tokenizer(tiny.tokenizer.backend, tiny.tokenizer.stop_ids[::-1])  # <|im_end|> would end a chat
    alike = LanguageModel("other", tiny.network, other)
    assert example_of(alike, record(tmp_path, {"question": "1 + 2?", "response": "It is 3"}), "plain") == example
    thinking = example_of(tiny, record(tmp_path, BOOK), "plain")
    assert thinking.tokens[0] == tiny.tokenizer.special_id("<think>")  # one token, as the chat template has it
    assert text(tiny, thinking)[1] == "<think>\none, two\n</think>\n\n\\boxed{3}<|endoftext|>"


@pytest.mark.parametrize("template", ["chat", "chat-thinking"])
@pytest.mark.parametrize("thinks", [True, False])
def test_a_chat_reply_is_what_sampling_would_draw(
    tiny: LanguageModel, tmp_path: Path, template: str, thinks: bool
) -> None:
    """The prompt is the one that eval asks with; an empty pair of tags stands in it, and is never trained."""
    reply = THOUGHT if thinks else {"role": "assistant", "content": "It is 4."}
    example = example_of(tiny, record(tmp_path, {"messages": [ASKED, reply]}), template)
    on = thinks and template == "chat-thinking"
    assert example.prompt_tokens == tuple(tiny.chat_prompt([ASKED], thinking=on))
    prompt, trained = text(tiny, example)
    assert trained == ("<think>\n2 and 2\n</think>\n\nIt is 4.<|im_end|>" if on else "It is 4.<|im_end|>")
    assert prompt.endswith("<|im_start|>assistant\n" if on else "<think>\n\n</think>\n\n")
    if on or not thinks:
        assert prompt + trained + "\n" == render_chat([ASKED, reply], add_generation_prompt=False)
    assert example.tokens.count(tiny.tokenizer.special_id("<|im_end|>")) == 1
    assert example.tokens[-1] == tiny.tokenizer.special_id("<|im_end|>")


def with_own(tiny: LanguageModel, template: str) -> LanguageModel:
    return LanguageModel("own", tiny.network, with_template(template, "own"), max_length=512)


def test_templates_that_drop_thinking_still_have_it_trained(tiny: LanguageModel, tmp_path: Path) -> None:
    """SmolLM2's knows no thinking; one like DeepSeek-R1's opens it in the prompt and forgets it afterwards."""
    thought = record(tmp_path, {"messages": [ASKED, THOUGHT]})
    unaware, opens = with_own(tiny, SMOLLM2), with_own(tiny, OPENS)
    prompt, trained = text(unaware, example_of(unaware, thought, "chat-thinking"))
    assert prompt.endswith("<|im_start|>assistant\n")
    assert trained == "<think>\n2 and 2\n</think>\n\nIt is 4.<|im_end|>"
    assert text(unaware, example_of(unaware, thought, "chat"))[1] == "It is 4.<|im_end|>"
    prompt, trained = text(opens, example_of(opens, thought, "chat-thinking"))
    assert prompt.endswith("<|im_start|>assistant\n<think>\n")
    assert trained == "2 and 2\n</think>\n\nIt is 4.<|im_end|>"


@pytest.mark.parametrize(
    ("template", "wanted", "message"),
    [
        (OPENS, "chat", r"asked without thinking, the prompt goes on with '<think>\\n', where .* has 'It is 4"),
        (SMOLLM2.replace("<|im_end|>' + '\n'}}{% endfor", "\n'}}{% endfor"), "chat", "no stop token stands behind"),
        (SMOLLM2.replace("message['content']", "message['content'][:5]"), "chat", "does not write all of the reply"),
    ],
)
def test_data_and_template_that_disagree(
    tiny: LanguageModel, tmp_path: Path, template: str, wanted: str, message: str
) -> None:
    with pytest.raises(UserError, match=f"data and template disagree: .*{message}"):
        example_of(with_own(tiny, template), record(tmp_path, {"messages": [ASKED, THOUGHT]}), wanted)


def test_what_a_plain_template_and_the_context_cannot_hold(tiny: LanguageModel, tmp_path: Path) -> None:
    rows = [{"messages": [{"role": "system", "content": "Be kind."}, ASKED, THOUGHT]},
            {"question": "q", "response": "7 " * 900}]  # fmt: skip
    records = load_records(write(tmp_path / "rows.jsonl", *rows))
    found, failures = examples_of(tiny, records, "plain")
    assert not found
    assert [failure.row for failure in failures] == [1, 2]
    assert "2 turns stand before the reply, but --template plain holds one question" in failures[0].error
    assert "but the context holds 512: raise --max-length" in failures[1].error


# --- the loss -----------------------------------------------------------------------------------------------------


def made(num: int, seed: int = 0) -> list[Completion]:
    """Examples of random tokens, of different lengths; every third has the prompt of the one before."""
    random = torch.Generator().manual_seed(seed)

    def tokens(least: int, most: int) -> tuple[int, ...]:
        length = int(torch.randint(least, most, (1,), generator=random))
        return tuple(torch.randint(500, (length,), generator=random).tolist())

    prompts = [tokens(3, 9) for _ in range(num)]
    return [Completion(prompts[i - (i % 3 == 2)], tokens(1, 12), (), "stop") for i in range(num)]


def trainer(
    model: LanguageModel, examples: list[Completion], lora: LoraConfig | None = None, **more: object
) -> Trainer:
    return Trainer(
        model, examples, SftConfig(**({"batch_size": 7, "epochs": 2} | more)), OptimizerConfig(lr=1e-2), lora
    )


def plain_loss(network: Transformer, examples: list[Completion]) -> torch.Tensor:
    """Each example alone, all logits whole, and the mean over all trained tokens."""
    total = 0.0
    for example in examples:
        row = torch.tensor([[*example.prompt_tokens, *example.tokens]])
        mask = torch.arange(row.shape[1])[None] >= len(example.prompt_tokens)
        total = total - score(network, row, mask)[0].sum()
    return total / sum(len(example.tokens) for example in examples)


@pytest.mark.parametrize("elements", [2**24, 3 * 512])
@pytest.mark.parametrize(("micro_batch_tokens", "recompute"), [(10_000, False), (40, False), (1, True)])
def test_packed_in_passes_and_chunks_is_each_alone(
    tiny: LanguageModel, monkeypatch: pytest.MonkeyPatch, elements: int, micro_batch_tokens: int, recompute: bool
) -> None:
    """Loss and gradient of a step, however it is packed, split, and its logits cut in chunks."""
    examples, seen = made(7), {}
    own = trainer(tiny, examples, micro_batch_tokens=micro_batch_tokens, recompute=recompute)
    wanted = plain_loss(tiny.network, examples)
    gradients = torch.autograd.grad(wanted, list(tiny.network.parameters()))

    def look(scale: float) -> float:
        seen.update({name: weight.grad.clone() for name, weight in tiny.network.named_parameters()})
        return 0.0

    monkeypatch.setattr(own.optimizer, "step", look)
    monkeypatch.setattr(scoring, "CHUNK_ELEMENTS", elements)
    metrics = own.take(0)
    assert metrics.loss == pytest.approx(wanted.item(), abs=1e-5)
    assert metrics.tokens == sum(len(example.tokens) for example in examples)
    for (name, _), expected in zip(tiny.network.named_parameters(), gradients, strict=True):
        assert torch.allclose(seen[name], expected, atol=2e-6), name


def test_a_pack_counts_each_prompt_once() -> None:
    """Prompts of 5 tokens: two of the same need 5 + 4 + 4, two different ones 5 + 4 + 5 + 4."""
    first, second = (Completion((number,) * 5, (9,) * 4, (), "stop") for number in (1, 2))
    assert list(packs([first, second, second], 17)) == [[0], [1, 2]]
    assert list(packs([first, second, second], 18)) == [[0, 1], [2]]
    assert list(packs([first, first, second], 22)) == [[0, 1, 2]]


def test_tokens_that_were_given_are_not_trained(tiny: LanguageModel) -> None:
    """A trajectory's mask counts here as in reinforcement learning."""
    whole = Completion((1, 2), (3, 4, 5), (), "stop")
    masked = Completion((1, 2), (3, 4, 5), (), "stop", mask=(True, False, True))
    row = torch.tensor([[1, 2, 3, 4, 5]])
    wanted = -score(tiny.network, row, torch.tensor([[False, False, True, False, True]]))[0].sum()
    assert nats(tiny.network, [masked]).item() == pytest.approx(wanted.item(), abs=1e-5)
    assert nats(tiny.network, [whole]).item() > wanted.item()


def test_each_epoch_reads_every_example_once_in_another_order(tiny: LanguageModel) -> None:
    examples = made(16)
    own = trainer(tiny, examples)
    assert (own.steps_per_epoch, own.num_steps) == (3, 6)
    epochs = [[e for step in steps for e in own.batch(step)] for steps in (range(3), range(3, 6))]
    for epoch in epochs:
        assert sorted(map(repr, epoch)) == sorted(map(repr, examples))
    assert epochs[0] != epochs[1]
    assert [len(own.batch(step)) for step in range(3)] == [7, 7, 2]


def test_the_rate_falls_over_all_epochs(tiny: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """Six steps, the last half of them decaying: 1, 1, 1, 1, 2/3, 1/3."""
    own, scales = Trainer(tiny, made(3), SftConfig(batch_size=1, epochs=2), OptimizerConfig(decay_share=0.5)), []
    monkeypatch.setattr(own.optimizer, "step", lambda scale: scales.append(scale) or 0.0)
    for step in range(own.num_steps):
        own.take(step)
    assert scales == pytest.approx([1, 1, 1, 1, 2 / 3, 1 / 3])


def test_a_model_learns_what_it_is_shown(tiny: LanguageModel) -> None:
    examples = made(6)
    own = trainer(tiny, examples, epochs=30)
    losses = [own.take(step).loss for step in range(30)]
    assert losses[0] > 6 > 1 > losses[-1]


def test_adapters_alone_change(tiny: LanguageModel) -> None:
    own = trainer(tiny, made(7), LoraConfig(rank=2))
    before = {name: weight.clone() for name, weight in tiny.network.named_parameters()}
    own.take(0)
    changed = {name for name, weight in tiny.network.named_parameters() if not torch.equal(weight, before[name])}
    assert changed
    assert all(".lora_b" in name for name in changed)


def test_what_the_watch_says() -> None:
    def rows(*losses: float) -> list[SftMetrics]:
        return [SftMetrics(i, 0.0, loss, loss, 1, 1, 1.0) for i, loss in enumerate(losses)]

    assert alarm(rows(*[1.0] * 10, *[1.4] * 10)) is None
    assert "rose from 1.00 to 1.60" in alarm(rows(*[1.0] * 10, *[1.6] * 10))
    assert "not finite three times" in alarm(rows(1.0, *[float("nan")] * 3))


# --- the command --------------------------------------------------------------------------------------------------


def rows_of(num: int) -> list[dict]:
    return [{"question": f"What is {i} + 1?", "response": rf"\boxed{{{i + 1}}}", "reference": str(i + 1)}
            for i in range(num)]  # fmt: skip


def plan(tmp_path: Path, out: str, **changes: object) -> Sft:
    data = tmp_path / "data.jsonl"
    if not data.exists():
        write(data, *rows_of(30))
    small = dict(data=data, out=tmp_path / out, batch_size=10, epochs=2, save_every=2, lr=1e-2, eval_every=2)
    return Sft(**(small | changes))


def outcome(out: Path) -> tuple:
    last = checkpoint.latest(out)
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    files = [last.folder / "model.safetensors", last.folder / "training" / "optimizer.safetensors",
             out / "validation.jsonl", out / "checkpoints" / "best" / "model.safetensors"]  # fmt: skip
    return last.step, [{**row, "seconds": 0} for row in rows], [path.read_bytes() for path in files]


@pytest.mark.parametrize("die_at", [1, 3])
def test_a_run_that_died_ends_with_the_same_bits(tiny: LanguageModel, tmp_path: Path, die_at: int) -> None:
    start = {name: weight.clone() for name, weight in tiny.network.state_dict().items()}

    def train(out: str, die: int | None = None) -> None:
        def show(shown: object) -> None:
            if isinstance(shown, SftMetrics) and shown.step == die:
                raise KeyboardInterrupt

        tiny.network.load_state_dict(start)
        sft.train(plan(tmp_path, out, lr_decay=0.5), tiny, show)

    train("whole")
    with pytest.raises(KeyboardInterrupt):
        train("broken", die_at)
    train("broken")
    assert outcome(tmp_path / "broken") == outcome(tmp_path / "whole")
    (tmp_path / "data.jsonl").write_text((tmp_path / "data.jsonl").read_text().replace("What is 3", "What is 4"))
    with pytest.raises(UserError, match="this run began with other examples"):
        sft.train(plan(tmp_path, "whole", lr_decay=0.5, epochs=3), tiny)


def test_a_run_with_steps_that_were_not_finite_resumes(tiny: LanguageModel, tmp_path: Path) -> None:
    """In its file they are null, and the watch took null for a number."""

    def show(shown: object) -> None:
        if isinstance(shown, SftMetrics) and shown.step == 2:
            raise KeyboardInterrupt

    settings = plan(tmp_path, "run", lr=1e30, save_every=1)
    with pytest.raises(KeyboardInterrupt):
        sft.train(settings, tiny, show)
    assert '"grad_norm": null' in (tmp_path / "run" / "metrics.jsonl").read_text()
    assert sft.train(settings, tiny) == tmp_path / "run" / "checkpoints" / "best"
    finished = json.loads((tmp_path / "run" / "finished.json").read_text())
    assert finished["steps"] == 4 and finished["stopped"].endswith("in a row: lower --lr, or use --dtype float32")
    assert math.isnan(validation_of(None, step=2, loss=None, num_records=3).loss)


def test_a_model_that_is_damaged_is_no_best(tiny: LanguageModel, tmp_path: Path) -> None:
    with torch.no_grad():
        tiny.network.lm_head.weight[0] = math.nan
    assert sft.train(plan(tmp_path, "run"), tiny) == resolve("thinkling-base")  # what the flags name, in place of tiny
    finished = json.loads((tmp_path / "run" / "finished.json").read_text())
    assert finished["best"] is None and "no step ever was, so the weights of the model" in finished["stopped"]
    assert not (tmp_path / "run" / "checkpoints" / "best").exists()


def test_no_question_is_on_both_sides(tiny: LanguageModel, tmp_path: Path) -> None:
    rows = rows_of(40)
    pairs, _ = examples_of(tiny, load_records(write(tmp_path / "rows.jsonl", *rows, *rows)), "plain")
    learnt, aside = kept_aside(pairs, 5)
    assert len(learnt) + len(aside) == 80
    assert len(aside) == 6  # three questions, twice each
    assert not {r.question for r, _ in learnt} & {r.question for r, _ in aside}
    with pytest.raises(UserError, match="19 questions are too few"):
        kept_aside(pairs[:19], 5)
    same = write(tmp_path / "held-out.jsonl", {"question": "What is 3 + 1?", "reference": "4"})
    with pytest.raises(UserError, match=r"have 1 question in common, such as 'What is 3 . 1\?'"):
        sft.train(plan(tmp_path, "run", held_out=str(same)), tiny)
    assert not (tmp_path / "run").exists()


def test_the_command_trains_measures_and_leaves_a_model(
    tiny: LanguageModel, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    save_model(tmp_path / "model", tiny.network, tiny.tokenizer)
    held_out = write(tmp_path / "held-out.jsonl", *({"question": f"{i}?", "reference": "1"} for i in range(2)))
    data = write(tmp_path / "data.jsonl", *rows_of(30), {"question": "long", "response": "7 " * 900})
    words = ["sft", "--model", tmp_path / "model", "--data", data, "--out", tmp_path / "run", "--epochs", "1",
             "--held-out", held_out, "--eval-samples", "1", "--max-tokens", "3"]  # fmt: skip
    line = fails(capsys, *words)
    assert f"{data}, row 31 cannot be learnt: it is " in line
    assert not (tmp_path / "run").exists()
    cli.main([str(word) for word in [*words, "--on-error", "skip"]])
    printed = capsys.readouterr().out
    assert "after 0 steps: loss 6." in printed
    assert "0.0% right [0.0, " in printed
    assert "1 record left out of training: row 31 (long): it is " in printed
    saved = load_model(tmp_path / "run" / "checkpoints" / "step-00001")
    assert not torch.equal(saved.lm_head.weight, tiny.network.lm_head.weight)
    row = json.loads((tmp_path / "run" / "validation.jsonl").read_text().splitlines()[0])
    assert (row["num_records"], row["accuracy"]["num_problems"]) == (3, 2)


def test_the_plan_needs_no_key_value_cache(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    cli.main(["sft", "--data", "none.jsonl", "--out", str(tmp_path / "run"), "--plan"])
    printed = capsys.readouterr().out
    assert "key-value cache" not in printed
    assert "64 examples of at most 1,024 tokens; up to 4,096 tokens in one pass" in printed
    assert not (tmp_path / "run").exists()


def test_what_is_trained_is_shown(tiny: LanguageModel, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    save_model(tmp_path / "model", tiny.network, tiny.tokenizer)
    rows = [{"question": "2 + 2?", "response": "Ω is\x1b[2J 4"}, {"messages": [ASKED, THOUGHT]}, BOOK]
    data = write(tmp_path / "data.jsonl", *rows)
    cli.main(["data", "show", str(data), "--model", str(tmp_path / "model"), "--template", "chat", "--num", "1"])
    first = capsys.readouterr().out
    assert "</think>\n\n«Ω is\ufffd[2J 4<|im_end|>»" in first  # nothing in a file steers the terminal
    words = ["data", "stats", data, "--model", tmp_path / "model"]
    cli.main([str(word) for word in [*words, "--out", tmp_path / "lengths.png"]])
    printed = capsys.readouterr().out
    assert (
        "3 records of 3 questions (question and response: 1, messages: 1, the book's: 1): 0 repeated, 2 with" in printed
    )
    assert "100.0% right of 1 that can be verified" in printed
    assert (tmp_path / "lengths.png").read_bytes().startswith(b"\x89PNG")
    write(data, *rows, {"question": "q", "response": "7 " * 900})
    assert "row 4 cannot be learnt: it is" in fails(capsys, "data", "show", data, "--model", tmp_path / "model",
                                                    "--first", "4")  # fmt: skip


def test_stats_by_hand(tiny: LanguageModel, tmp_path: Path) -> None:
    """A cut at 128 tokens keeps the two short records, of which one is right, and removes a right one."""
    long = "7 x " * 100 + r"\boxed{4}"
    rows = [{"question": "2 + 2?", "response": reply, "reference": "4"} for reply in (r"\boxed{4}", r"\boxed{5}", long)]
    path = write(tmp_path / "rows.jsonl", *rows, rows[0])
    found = stats_of(*examples_of(tiny, load_records(path), "plain"))
    assert (found.records, found.questions, found.repeated, found.verified, found.right) == (4, 1, 1, 4, 3)
    cut = asdict(found.windows[0])
    assert cut == {"tokens": 128, "kept": 0.75, "right": pytest.approx(2 / 3), "right_gone": 1.0}
