"""Rollouts from servers: the same as those drawn here, whatever servers do; and a push that was not taken is caught."""

import asyncio
import copy
import re
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
import torch
from fake_server import UPDATES, FakeServer, breaks, dies, halves, hangs, ignores, later, rounds
from no_room import room_for
from safetensors.torch import load_file

from thinkling.commands import grpo
from thinkling.commands.grpo import Grpo
from thinkling.commands.rollout_servers import RolloutServerSettings
from thinkling.errors import FatalError, UserError
from thinkling.generate.language_model import LanguageModel
from thinkling.generate.openai import exact
from thinkling.generate.openai.connection import Connection, Lost
from thinkling.runs import read_jsonl
from thinkling.train import checkpoint
from thinkling.train.rl.weight_push import Proof

UPDATE, ASK = "/update_weights", "/v1/completions"


def plan(out: Path, **changes: object) -> Grpo:
    """Three steps on made-up rewards, of two servers where nothing else is said."""
    small = dict(out=out, steps=3, prompts_per_step=2, rollouts_per_prompt=4, max_tokens=10, lr=1e-2, save_every=1)
    small |= dict(reward=("random",), eval_every=0, preflight=False, servers=asking("http://a,http://b"))
    return Grpo(**(small | changes))


def asking(rollouts: str | None, **changes: object) -> RolloutServerSettings:
    return RolloutServerSettings(**({"rollouts": rollouts, "rollouts_timeout": 60.0, "rollouts_wait": 0.0} | changes))


@pytest.fixture
def fresh(tiny: LanguageModel) -> Callable[[], LanguageModel]:
    """The tiny model as it began, one for each who needs it."""
    return lambda: LanguageModel("tiny", copy.deepcopy(tiny.network), tiny.tokenizer, **tiny.limits)


@pytest.fixture
def servers(fresh: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, FakeServer]:
    """Two, by their names; the folder of the run `run` is theirs."""
    found = {name: FakeServer(fresh(), folder=tmp_path / "run" / "pushed") for name in "ab"}

    async def route(request: httpx.Request) -> httpx.Response:
        return await found[request.url.host](request)

    def connection(*given: object, **more: object) -> Connection:
        return Connection(*given[:6], httpx.MockTransport(route), **more)

    monkeypatch.setattr(exact, "Connection", connection)
    return found


KNOWN: dict[str, object] = {}  # of the run that draws for itself, once it has been made


@pytest.fixture
def whole(fresh: Callable, tmp_path: Path) -> list[tuple]:
    """The rollouts of the run that draws for itself."""
    if not KNOWN:
        grpo.train(plan(tmp_path / "here", servers=asking(None)), fresh())
        KNOWN["weights"], KNOWN["rows"] = weights(tmp_path / "here"), told(samples(tmp_path / "here"))
    return KNOWN["rows"]


def samples(out: Path) -> list[dict]:
    return list(read_jsonl(out / "samples.jsonl"))


def weights(out: Path) -> dict[str, torch.Tensor]:
    return load_file(checkpoint.latest(out).folder / "model.safetensors")


def told(rows: list[dict]) -> list[tuple]:
    return [(row["step"], row["id"], tuple(row["tokens"]), row["reward"]) for row in rows]


# --- it is the run that draws in its own process ---


def test_servers_draw_what_would_have_been_drawn_here(
    fresh: Callable, servers: dict[str, FakeServer], whole: list[tuple], tmp_path: Path
) -> None:
    grpo.train(plan(tmp_path / "run"), fresh())
    rows = samples(tmp_path / "run")
    assert told(rows) == whole and len(rows) == 3 * 2 * 4
    here, there, start = KNOWN["weights"], weights(tmp_path / "run"), fresh().network.state_dict()
    apart, moved = (sum(float((there[n] - other[n]).norm()) for n in here) for other in (here, start))
    assert apart < 1e-3 * moved
    assert [row["version"] for row in rows] == [row["step"] for row in rows]
    assert [len(server.log) for server in servers.values()] == [12, 12]  # balanced, and nothing twice
    metrics = list(read_jsonl(tmp_path / "run" / "metrics.jsonl"))
    assert all(row["mismatch_max"] < 1e-4 and row["stale"] == 0 for row in metrics)
    assert len(list((tmp_path / "run" / "pushed").iterdir())) == 2  # the last two versions


def test_vllm_takes_weights_by_its_own_routes(fresh: Callable, servers: dict[str, FakeServer], tmp_path: Path) -> None:
    for server in servers.values():
        server.owner = "vllm"
    grpo.train(plan(tmp_path / "run", steps=2, eval_every=1, eval_problems=2, eval_samples=1), fresh())
    routes = [path for path in servers["a"].seen if path not in (ASK, "/v1/models")]
    assert routes == 3 * ["/pause", "/collective_rpc", "/reset_prefix_cache", "/resume"]  # of steps 0, 1, and the end
    assert all(row["mismatch_max"] < 1e-4 for row in read_jsonl(tmp_path / "run" / "metrics.jsonl"))


def test_rollouts_that_overlap_are_stale_by_one_and_say_so(
    fresh: Callable, servers: dict[str, FakeServer], tmp_path: Path
) -> None:
    settings = plan(tmp_path / "run", overlap=True)
    assert settings.objective.correction == "tis"
    grpo.train(settings, fresh())
    metrics = list(read_jsonl(tmp_path / "run" / "metrics.jsonl"))
    assert [row["stale"] for row in metrics] == [0, 1, 1]
    assert metrics[0]["mismatch_max"] < 1e-4 < metrics[2]["mismatch_max"]  # and what they are off by is seen
    assert [row["version"] for row in samples(tmp_path / "run")] == 8 * [0] + 8 * [0] + 8 * [1]


@pytest.mark.parametrize("owner", UPDATES)
def test_a_push_finds_rollouts_under_way_that_go_on(
    owner: str, fresh: Callable, servers: dict[str, FakeServer], tmp_path: Path
) -> None:
    """Two batches ahead: the second push comes while the third batch is drawn, and that ends with the new weights. Each
    rollout says which it began with, none is older than two steps, and none is thrown away."""
    asked, pushed = [], []

    async def carried(own: FakeServer, body: dict) -> object:
        if body.get("echo"):
            return await own.answer(ASK, body)
        begun = own.version
        asked.append(begun)
        while len(asked) > 16 and not pushed:
            await asyncio.sleep(0.01)
        answer = await own.answer(ASK, body)
        return answer | ({"system_fingerprint": begun} if owner == "thinkling" else {})

    async def in_their_midst(own: FakeServer, body: dict) -> object:
        while len(asked) <= 16:
            await asyncio.sleep(0.01)
        own.take(body)
        pushed.append(len(asked))
        return {}

    servers["a"].owner = owner
    servers["a"].fault = {ASK: carried, UPDATES[owner]: later(in_their_midst, 1)}
    ahead = dict(steps=4, overlap=True, max_stale=2, save_every=0)  # to save is to wait for what is under way
    grpo.train(plan(tmp_path / "run", servers=asking("http://a"), **ahead), fresh())
    metrics, rows = (list(read_jsonl(tmp_path / "run" / f"{name}.jsonl")) for name in ("metrics", "samples"))
    versions = [[row["version"] for row in rows if row["step"] == step] for step in range(4)]
    assert versions[:2] == [8 * [0], 8 * [0]] and versions[3] == 8 * [1]
    assert 0 in versions[2] and set(versions[2]) <= {0, 1} and pushed[0] > 16
    assert [row["stale"] for row in metrics] == [0, 1, 2 - sum(versions[2]) / 8, 2]
    assert not any(row["thrown_away"] for row in metrics)


def test_a_running_loop_and_a_folder_of_any_name(
    fresh: Callable, servers: dict[str, FakeServer], whole: list[tuple], tmp_path: Path
) -> None:
    """As in a notebook."""
    folder = tmp_path / "für Müller, 重み %20"
    servers["a"].folder, servers["b"].owner = folder, "vllm"

    async def cell() -> None:
        grpo.train(plan(tmp_path / "run", servers=asking("http://a,http://b", push_folder=folder)), fresh())

    asyncio.run(cell())
    assert told(samples(tmp_path / "run")) == whole
    assert [len(server.log) for server in servers.values()] == [12, 12]


def test_a_full_disk_while_pushing_is_one_line_and_the_run_resumes(
    fresh: Callable, servers: dict[str, FakeServer], whole: list[tuple], tmp_path: Path
) -> None:
    full = ExitStack()

    async def fills(own: FakeServer, body: dict) -> object:
        full.enter_context(room_for(20_000))  # the weights have more
        own.fault.clear()
        return await own.answer(ASK, body)

    servers["a"].fault[ASK] = later(fills, 2)  # while the first step's rollouts are drawn
    settings, pushed = plan(tmp_path / "run", steps=2, save_every=0), tmp_path / "run" / "pushed"
    with full, pytest.raises(FatalError) as caught:
        grpo.train(settings, fresh())
    line = str(caught.value)
    assert re.match(rf"--push-folder: {pushed}/\w+\.000001\S*: File too large", line) and "\n" not in line
    assert line.endswith("the same command resumes from the last checkpoint")
    assert [path.name.partition(".")[2] for path in pushed.iterdir()] == ["000000"]  # nothing half-written
    grpo.train(settings, fresh())
    assert told(samples(tmp_path / "run")) == whole[:16]


# --- a server that fails ---


def test_what_a_lost_server_was_asked_goes_to_another_and_counts_once(
    fresh: Callable, servers: dict[str, FakeServer], whole: list[tuple], tmp_path: Path
) -> None:
    servers["a"].fault[ASK] = later(dies, 6)  # one proof and four rollouts; in the midst of the next step it is gone
    with pytest.warns(UserWarning, match=r"drawing rollouts for step 2: the server at http://a failed: .* left out"):
        grpo.train(plan(tmp_path / "run"), fresh())
    assert told(samples(tmp_path / "run")) == whole
    assert len(servers["a"].log) == 4 and len(servers["b"].log) == 24 - 4


PUSHING = "pushing the weights behind 1 step: the server at http://a"
DRAWING = "drawing rollouts for step 2: the server at http://a"
FAULTS = {
    "hangs in a push": (UPDATE, hangs, f"{PUSHING} did not answer /update_weights within 1 s"),
    "breaks in a push": (UPDATE, breaks, rf"{PUSHING} answers /update_weights with HTTP 500 \(out of memory\)"),
    "ignores a push": (UPDATE, ignores, f"{PUSHING} has not taken the weights behind 1 steps: what it says of the "
                       "probe is what those behind 0 steps said"),
    "takes another dtype": (UPDATE, rounds, f"{PUSHING} has other weights than those behind 1 steps, or another dtype"),
    "takes half an update": (UPDATE, halves, f"{PUSHING} has other weights than those behind 1 steps"),
    "hangs in a rollout": (ASK, hangs, f"{DRAWING} failed: it did not answer within 1 s"),
    "dies in a rollout": (ASK, dies, f"{DRAWING}.*; no server is left"),
}  # fmt: skip
CALLS = {UPDATE: 1, ASK: 11}  # of the first step, with its proof, and into the second


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_ends_in_one_line_and_the_run_resumes_exactly(
    name: str, fresh: Callable, servers: dict[str, FakeServer], whole: list[tuple], tmp_path: Path
) -> None:
    """One server, which does it in the second step; then it is well again."""
    path, fault, line = FAULTS[name]
    patience = 1.0 if fault is hangs else 60.0
    settings = plan(tmp_path / "run", steps=2, servers=asking("http://a", rollouts_timeout=patience))
    servers["a"].fault[path] = later(fault, CALLS[path])
    with pytest.raises(FatalError, match=line) as caught:
        grpo.train(settings, fresh())
    assert str(caught.value).endswith("the same command resumes from the last checkpoint")
    assert "\n" not in str(caught.value)
    servers["a"].fault.clear()
    grpo.train(replace(settings, servers=asking("http://a")), fresh())
    assert told(samples(tmp_path / "run")) == whole[:16]


def test_a_server_that_is_lost_while_a_run_saves_is_named(
    fresh: Callable, servers: dict[str, FakeServer], tmp_path: Path
) -> None:
    """What is drawn ahead is waited for then. It was said that the step "cannot be saved", and to make room."""
    settings = plan(tmp_path / "run", overlap=True, servers=asking("http://a"))
    servers["a"].fault[ASK] = later(dies, 1 + 8 + 4)  # the proof, the first batch, and half of the second
    with pytest.raises(FatalError, match=r"^drawing rollouts for step 1: the server at http://a .*no server") as caught:
        grpo.train(settings, fresh())
    assert "saved" not in str(caught.value) and "\n" not in str(caught.value)
    assert len(servers["a"].log) == 8 + 4 and checkpoint.latest(tmp_path / "run") is None
    servers["a"].fault.clear()
    assert grpo.train(settings, fresh()).name == "step-00003" and len(samples(tmp_path / "run")) == 3 * 8


def test_a_server_that_was_started_anew_gets_the_weights_before_it_counts(
    fresh: Callable, servers: dict[str, FakeServer], whole: list[tuple], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the second step it is there again at once, with the weights that it began with; its answers say so."""
    monkeypatch.setattr("thinkling.train.rl.servers.PAUSE", 0.01)

    async def restarts(own: FakeServer, body: dict) -> object:
        own.model, own.version = fresh(), ""
        own.fault.clear()
        return await own.answer(ASK, body)

    servers["a"].fault[ASK] = later(restarts, CALLS[ASK])
    with pytest.warns(UserWarning, match="No server is left: waiting 60 s for one to come back"):
        grpo.train(plan(tmp_path / "run", servers=asking("http://a", rollouts_wait=60.0)), fresh())
    assert told(samples(tmp_path / "run")) == whole
    thrown = [row["thrown_away"] for row in read_jsonl(tmp_path / "run" / "metrics.jsonl")]
    assert thrown[0] == thrown[2] == 0 < thrown[1] <= 8


def test_one_that_is_wrong_is_left_out_and_the_other_goes_on(
    fresh: Callable, servers: dict[str, FakeServer], whole: list[tuple], tmp_path: Path
) -> None:
    servers["a"].fault[UPDATE] = later(ignores, 1)
    with pytest.warns(UserWarning, match="has not taken the weights behind 1 steps"):
        grpo.train(plan(tmp_path / "run"), fresh())
    assert told(samples(tmp_path / "run")) == whole
    assert len(servers["a"].log) == 4 and len(servers["b"].log) == 20


REFUSED = {
    "no ids": (lambda row: row.pop("token_ids"), "does not tell each token's id and log-probability"),
    "another tokenizer": (lambda row: row.update(prompt_token_ids=[1]), "has read other tokens than it was given"),
    "no log-probabilities": (lambda row: row.pop("logprobs"), "does not tell each token's id and log-probability"),
    "impossible ones": (lambda row: row["logprobs"].update(token_logprobs=[0.5] * len(row["token_ids"])), "above 0"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_nothing_can_be_learnt_from_is_refused(
    name: str, fresh: Callable, servers: dict[str, FakeServer], tmp_path: Path
) -> None:
    spoil, line = REFUSED[name]

    async def spoilt(own: FakeServer, body: dict) -> object:
        answer = await own.answer(ASK, body)
        if not body.get("echo"):
            spoil(answer["choices"][0])
        return answer

    servers["a"].fault[ASK] = spoilt
    with pytest.raises(FatalError, match=line):
        grpo.train(plan(tmp_path / "run", steps=1, servers=asking("http://a")), fresh())


def test_what_cannot_be_is_said_before_any_work(fresh: Callable, servers: dict, tmp_path: Path) -> None:
    for changes in (dict(temperature=0.7), dict(top_k=5), dict(top_p=0.9), dict(min_p=0.1)):
        with pytest.raises(UserError, match="--rollouts: servers tell log-probabilities at temperature 1"):
            plan(tmp_path / "run", **changes)
    with pytest.raises(UserError, match="--max-stale 2 is for rollouts that are drawn ahead: add --overlap"):
        plan(tmp_path / "run", max_stale=2)
    with pytest.raises(UserError, match="--rollouts names no server"):
        asking(" , ")
    servers["a"].owner = "llamacpp"
    with pytest.raises(
        FatalError, match="is a 'llamacpp', which takes no new weights here: use one of thinkling, vllm"
    ):
        grpo.train(plan(tmp_path / "run", servers=asking("http://a")), fresh())


# --- the proof, by hand ---


def test_a_proof_by_hand() -> None:
    proof = Proof(tolerance=0.1)
    proof.add(0, [-1.0, -2.0])
    proof.add(1, [-1.5, -2.5])
    assert proof.check("it", 1, [-1.52, -2.46]) == pytest.approx(0.03)
    with pytest.raises(Lost, match=r"log-probabilities of the probe are 0.2 nats apart, more than 0.1"):
        proof.check("it", 1, [-1.3, -2.7])
    with pytest.raises(Lost, match=r"behind 0 steps said \(0.01 nats apart, not 0.5\)"):
        proof.check("it", 1, [-1.02, -2.0])
    with pytest.raises(Lost, match="other weights"):
        proof.check("it", 1, [float("nan"), -2.5])
    with pytest.raises(Lost, match="read the probe as 2 tokens, not 3"):
        proof.check("it", 1, [-1.5])
    small = Proof(tolerance=0.1)  # a step too small for the tolerance is caught, too
    small.add(0, [-1.0, -2.0])
    small.add(1, [-1.001, -2.001])
    with pytest.raises(Lost, match="has not taken the weights behind 1 steps"):
        small.check("it", 1, [-1.0, -2.0])
    for version in range(2, 30):
        small.add(version, [-1.0, -2.0 - version])
    assert list(small.own) == [0, *range(22, 30)]  # the first, and the latest
