"""`thinkling serve --allow-weight-updates`, over HTTP: a trainer's weights come in by name, and by no other way."""

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
import uvicorn
from ranks import on_ranks, values
from test_rollout_servers import asking, fresh, plan, samples, told, whole

from thinkling.commands import grpo
from thinkling.generate.language_model import LanguageModel
from thinkling.generate.sampling import Sampling
from thinkling.model.quantize import quantize
from thinkling.model.transformer import Transformer, init_weights
from thinkling.model.weights import save_model
from thinkling.runs import read_jsonl
from thinkling.serve.api import Api, Limits
from thinkling.serve.security import Access
from thinkling.serve.served import Served
from thinkling.serve.server import address, listening
from thinkling.serve.weights import Weights

__all__ = ["fresh", "whole"]  # fixtures
ASK = {"prompt": [5, 6, 7], "max_tokens": 6, "temperature": 0, "logprobs": 1, "return_token_ids": True}


def serving(model: LanguageModel, folder: Path | None, token: str | None = None) -> Iterator[str]:
    """The real server, in a thread of this process; its address."""
    api = Api(Served.of(model, "m", 0), Limits(), Access("127.0.0.1", token), folder)
    listener = listening("127.0.0.1", 0)
    server = uvicorn.Server(uvicorn.Config(api.app(), log_config=None, ws="none", lifespan="on"))
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    try:
        while not server.started:
            time.sleep(0.005)
        yield address(listener)
    finally:
        server.should_exit = True
        thread.join()


@pytest.fixture
def url(fresh: Callable[[], LanguageModel], tmp_path: Path) -> Iterator[str]:
    model = fresh()
    yield from serving(LanguageModel("m", model.network, model.tokenizer, **model.limits, prefix_gb=0.01),
                       tmp_path / "run" / "pushed")  # fmt: skip


@pytest.fixture
def other(fresh: Callable[[], LanguageModel], tmp_path: Path) -> LanguageModel:
    """A model with other weights, saved as `next` where the server looks."""
    model = fresh()
    init_weights(model.network, seed=1)
    save_model(tmp_path / "run" / "pushed" / "next", model.network, model.tokenizer)
    return model


def answer(url: str) -> dict:
    return httpx.post(f"{url}/v1/completions", json=ASK).json()


def test_a_run_on_the_real_server_is_the_run_that_draws_here(
    fresh: Callable, url: str, whole: list[tuple], tmp_path: Path
) -> None:
    grpo.train(plan(tmp_path / "run", servers=asking(url)), fresh())
    assert told(samples(tmp_path / "run")) == whole
    rows = list(read_jsonl(tmp_path / "run" / "metrics.jsonl"))
    assert max(row["mismatch_max"] for row in rows) < 1e-4
    version = httpx.get(f"{url}/weight_info").json()["weight_version"]
    assert version.endswith(".000002") and answer(url)["system_fingerprint"] == version


def test_several_ranks_share_a_server(fresh: Callable, url: str, whole: list[tuple], tmp_path: Path) -> None:
    """Rank 0 pushes, both ask, and the run is the one that a single process makes for itself."""
    values(on_ranks(2, grpo.train, plan(tmp_path / "run", servers=asking(url)), fresh()))
    assert told(samples(tmp_path / "run")) == whole


def test_new_weights_are_the_ones_that_answer_and_nothing_old_is_left(url: str, other: LanguageModel) -> None:
    before = answer(url)
    assert before["system_fingerprint"] == ""
    long = ASK | {"prompt": [5, 6, 7] * 20}  # long enough to be kept for the next request
    httpx.post(f"{url}/v1/completions", json=long)
    reply = httpx.post(f"{url}/update_weights", json={"folder": "next", "version": "v 2"})
    assert reply.json() == {"weight_version": "v 2"} == httpx.get(f"{url}/weight_info").json()
    after = answer(url)
    assert after["system_fingerprint"] == "v 2" and after["choices"] != before["choices"]
    plain = {name: value for name, value in long.items() if name != "logprobs"}  # told ones are read from their start
    (wanted,) = other.complete_all([plain["prompt"]], Sampling(temperature=0.0, max_tokens=6))
    found = httpx.post(f"{url}/v1/completions", json=plain).json()["choices"][0]
    assert found["token_ids"] == list(wanted.tokens)
    for body in (ASK, long):
        (here,) = other.complete_all([body["prompt"]], Sampling(temperature=0.0, max_tokens=6))
        there = httpx.post(f"{url}/v1/completions", json=body).json()["choices"][0]
        assert there["token_ids"] == list(here.tokens)
        assert there["logprobs"]["token_logprobs"] == pytest.approx(here.logprobs, abs=1e-5)


def test_int8_samples_while_floats_learn(fresh: Callable, tmp_path: Path) -> None:
    """The server rounds what it is given; how far it is off is measured, and corrected."""
    model = fresh()
    quantize(model.network)
    settings = plan(tmp_path / "run", steps=2)
    for url in serving(model, tmp_path / "run" / "pushed"):
        settings = replace(settings, servers=asking(url, prove_tolerance=0.1))
        grpo.train(settings, fresh())
    assert settings.objective.correction == "tis"
    rows = list(read_jsonl(tmp_path / "run" / "metrics.jsonl"))
    assert all(1e-4 < row["mismatch"] < 0.1 and row["ess"] > 0.9 for row in rows)


NAMES = [
    "../run/pushed/next",
    "/etc",
    "next/../next",
    ".hidden",
    "",
    "..",
    "next\x00",
    "link",
    "nobody",
    "file",
    7,
    None,
]


def test_a_name_is_all_that_a_request_may_say(url: str, other: LanguageModel, tmp_path: Path) -> None:
    folder = tmp_path / "run" / "pushed"
    save_model(tmp_path / "outside", other.network, other.tokenizer)
    (folder / "link").symlink_to(tmp_path / "outside")
    (folder / "file").write_text("{}")
    (folder / ".hidden").mkdir()
    config = replace(other.network.config, num_hidden_layers=1)
    save_model(folder / "smaller", Transformer(config), other.tokenizer)
    before = answer(url)["choices"]
    bodies = [{"folder": name, "version": "1"} for name in [*NAMES, "smaller"]]
    bodies += [{"folder": "next"}, {"folder": "next", "version": "x" * 200}, {"folder": "next", "version": "a\nb"},
               {"folder": "next", "version": "1", "weights_path": "/etc"}, ["next"]]  # fmt: skip
    for body in bodies:
        reply = httpx.post(f"{url}/update_weights", json=body)
        assert reply.status_code == 400, body
        assert str(tmp_path) not in reply.text and "Traceback" not in reply.text
    assert answer(url)["choices"] == before and httpx.get(f"{url}/weight_info").json() == {"weight_version": ""}


def test_weights_never_change_unless_the_flag_says_so(fresh: Callable, other: LanguageModel, tmp_path: Path) -> None:
    update = {"folder": "next", "version": "1"}
    for url in serving(fresh(), None):
        assert httpx.post(f"{url}/update_weights", json=update).status_code == 404
        assert httpx.get(f"{url}/weight_info").status_code == 404
        assert "system_fingerprint" not in answer(url)
        assert "/update_weights" not in httpx.get(f"{url}/openapi.json").json()["paths"]
    for url in serving(fresh(), tmp_path / "run" / "pushed", token="secret"):
        assert httpx.post(f"{url}/update_weights", json=update).status_code == 401
        headers = {"Authorization": "Bearer secret"}
        assert httpx.post(f"{url}/update_weights", json=update, headers=headers).status_code == 200
        assert "/update_weights" in httpx.get(f"{url}/openapi.json", headers=headers).json()["paths"]


def test_what_was_read_with_the_old_weights_is_forgotten(fresh: Callable[[], LanguageModel], tmp_path: Path) -> None:
    """A prompt of three blocks is kept; behind new weights it is answered as by a model that never had others."""
    prompt, greedy = list(range(5, 53)), Sampling(temperature=0, max_tokens=6)
    model, other = fresh(), fresh()
    init_weights(other.network, seed=1)
    kept = LanguageModel("m", model.network, model.tokenizer, **model.limits, prefix_gb=0.01)
    kept.complete_all([prompt], greedy)
    assert len(kept.engine.prefixes.kept) >= 3
    Weights(kept, tmp_path).put(other.network, "next")
    assert not kept.engine.prefixes.kept
    (found,), (wanted,) = kept.complete_all([prompt], greedy), other.complete_all([prompt], greedy)
    assert found.tokens == wanted.tokens and found.logprobs == pytest.approx(wanted.logprobs, abs=1e-4)


def test_what_runs_when_weights_change_leaves_nothing_to_others(
    fresh: Callable[[], LanguageModel], tmp_path: Path
) -> None:
    """Two requests decode and one is still being read. Who joins then with one of their prompts, while they run and
    when they have ended, is answered as by a model that never had other weights; so is the one that was being read."""
    prompt, later, long = list(range(5, 53)), list(range(300, 348)), list(range(60, 160))
    model, other = fresh(), fresh()
    init_weights(other.network, seed=1)
    kept = LanguageModel(
        "m", model.network, model.tokenizer, **model.limits | {"prefix_gb": 0.01, "max_num_batched_tokens": 64}
    )
    engine, found = kept.engine, {}

    def asked(tokens: list[int], most: int = 6) -> int:
        return engine.submit(tokens, Sampling(temperature=0, max_tokens=most))

    decode = {asked(prompt, 40), asked(later, 40)}
    while engine.scheduler.num_decoding < 2:
        engine.step()
    being_read = asked(long)
    engine.step()
    assert 0 < engine.running[2].read < len(long)
    Weights(kept, tmp_path).put(other.network, "next")
    amid = [asked(prompt), asked(long)]
    while engine.busy:
        found |= dict(engine.step())
    assert decode <= found.keys()
    behind = [asked(prompt), asked(long), asked(later)]
    while engine.busy:
        found |= dict(engine.step())
    answers = other.complete_all([prompt, long, later], Sampling(temperature=0, max_tokens=6))
    for number, place in zip([*amid, *behind, being_read], [0, 1, 0, 1, 2, 1], strict=True):
        assert found[number].tokens == answers[place].tokens
        assert found[number].logprobs == pytest.approx(answers[place].logprobs, abs=1e-5)
    assert not engine.scheduler._of_prompt
