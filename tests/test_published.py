"""Benchmarks by name, from a Hub that is a small server here: fetched once, pinned, checked ever after; and offline."""

import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest
from huggingface_hub import constants

from thinkling import cli
from thinkling.errors import UserError
from thinkling.tasks import hub, published
from thinkling.tasks.benchmarks import load_problems
from thinkling.tasks.hub import home_of, is_published, lock_of
from thinkling.tasks.published import BENCHMARKS, Published

COMMIT, OTHER = "a" * 40, "b" * 40
ROWS = [{"problem": "1 + 1?", "answer": "2", "level": 1}, {"problem": "2 + 2?", "answer": "4", "level": 2}]
GPQA = ("Question,Correct Answer,Incorrect Answer 1,Incorrect Answer 2,Incorrect Answer 3,High-level domain\n"
        + "".join(f"Which {i}?,right {i},w{i},x{i},y{i},Physics\n" for i in range(8)))  # fmt: skip


def lines(rows: list[dict]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SimpleNamespace]:
    """A Hub with the data set org/set; state.files are those of each commit, state.asked what was asked of it."""
    state = SimpleNamespace(
        files={COMMIT: {"test.jsonl": lines(ROWS), "dev.jsonl": lines(ROWS[:1]), "gpqa.csv": GPQA.encode()}},
        head=COMMIT, asked=[], gated=False, lost="",
    )  # fmt: skip

    class Hub(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            state.asked.append(path)
            if path == "/":
                return self.reply(b"")
            if state.gated:
                return self.reply(b"{}", 403, {"X-Error-Code": "GatedRepo", "X-Error-Message": "gated"})
            match path.strip("/").split("/"):
                case ["api", "datasets", "org", "set", "revision", revision]:
                    commit = {"main": state.head}.get(revision, revision)
                    return self.reply(json.dumps({"id": "org/set", "sha": commit, "siblings": [], "private": False}))
                case ["api", "datasets", "org", "set", "tree", commit, *_]:
                    return self.reply(json.dumps([{"type": "file", "path": name, "size": len(content), "oid": "0" * 40}
                                                  for name, content in state.files[commit].items()]))  # fmt: skip
                case ["datasets", "org", "set", "resolve", commit, name] if name != state.lost:
                    content = state.files[commit][name]
                    tags = {"X-Repo-Commit": commit, "ETag": f'"{hashlib.sha1(content).hexdigest()}"'}
                    return self.reply(content, 200, tags)
            return self.reply(b"{}", 404, {"X-Error-Code": "EntryNotFound"})

        def reply(self, content: bytes | str, status: int = 200, headers: dict | None = None) -> None:
            content = content.encode() if isinstance(content, str) else content
            self.send_response(status)
            for name, value in {"Content-Length": str(len(content)), "Content-Type": "application/json",
                                **(headers or {})}.items():  # fmt: skip
                self.send_header(name, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr(constants, "ENDPOINT", url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", url + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setenv("THINKLING_CACHE", str(tmp_path / "cache"))
    own = {"held-out": "test.jsonl", "shots": "dev.jsonl"}
    monkeypatch.setitem(BENCHMARKS, "sums", Published("two sums", 2, "org/set", COMMIT, own))
    monkeypatch.setitem(BENCHMARKS, "unpinned", Published("the same", 2, "org/set", "", {"held-out": "test.jsonl"}))
    gpqa = BENCHMARKS["gpqa-diamond"]
    chosen = Published("options", 8, "org/set", "", {"held-out": "gpqa.csv"}, gpqa.columns, shuffle=True, gated=True)
    monkeypatch.setitem(BENCHMARKS, "closed", chosen)
    yield state
    server.shutdown()
    server.server_close()


def test_fetched_once_and_checked_ever_after(served: SimpleNamespace, capsys: pytest.CaptureFixture) -> None:
    found = load_problems("sums")
    assert [(p.question, p.reference, p.metadata) for p in found] == [
        ("1 + 1?", "2", {"level": 1}),
        ("2 + 2?", "4", {"level": 2}),
    ]
    assert [p.id.partition("/")[0] for p in found] == ["sums", "sums"]
    assert f"fetching test.jsonl of org/set at {COMMIT} into " in capsys.readouterr().err
    lock = lock_of("sums")
    assert (lock.repo, lock.revision) == ("org/set", COMMIT)
    assert lock.sha256 == {"test.jsonl": hashlib.sha256(lines(ROWS)).hexdigest()}
    served.asked.clear()
    assert load_problems("sums") == found and not served.asked  # nobody is asked again
    assert load_problems("sums", "shots")[0].question == "1 + 1?"  # another split: fetched beside it
    assert set(lock_of("sums").sha256) == {"test.jsonl", "dev.jsonl"}
    (home_of("sums") / "test.jsonl").write_bytes(lines(ROWS[:1]))
    with pytest.raises(UserError, match=r"test\.jsonl: its sha256 is \w+, not \w+, as when sums was first fetched"):
        load_problems("sums")
    (home_of("sums") / "test.jsonl").unlink()
    with pytest.raises(UserError, match="its sha256 is missing"):
        load_problems("sums")


def test_what_is_not_pinned_is_pinned_by_the_first_download(served: SimpleNamespace) -> None:
    first = load_problems("unpinned")
    assert lock_of("unpinned").revision == COMMIT
    served.files[OTHER], served.head = {"test.jsonl": lines([*ROWS, {"problem": "3?", "answer": "3"}])}, OTHER
    assert load_problems("unpinned") == first
    assert len(load_problems(f"unpinned@{OTHER}")) == 3 and load_problems("unpinned") == first
    assert load_problems(f"unpinned@{OTHER}")[0].id == first[0].id  # the same problem has the same id


def test_a_hash_that_is_known_is_compared(served: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    spoilt = Published("two", 2, "org/set", COMMIT, {"held-out": "test.jsonl"}, sha256={"test.jsonl": "0" * 64})
    monkeypatch.setitem(BENCHMARKS, "spoilt", spoilt)
    with pytest.raises(UserError, match=rf"the sha256 of test\.jsonl is \w+, not {'0' * 64}, as published"):
        load_problems("spoilt")
    assert lock_of("spoilt") is None and not (home_of("spoilt") / "test.jsonl").exists()


def test_a_download_that_fails_half_way_leaves_nothing(
    served: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(BENCHMARKS, "parts", Published("parts", 3, "org/set", COMMIT, {"held-out": "*.jsonl"}))
    served.lost = "test.jsonl"
    with pytest.raises(UserError, match="parts: the Hub did not give org/set at a"):
        load_problems("parts")
    assert "/datasets/org/set/resolve/" + COMMIT + "/dev.jsonl" in served.asked  # which did come
    assert lock_of("parts") is None and not list(home_of("parts").rglob("*.jsonl"))
    served.lost = ""
    assert len(load_problems("parts")) == 3


def test_terms_that_must_be_accepted(served: SimpleNamespace) -> None:
    served.gated = True
    with pytest.raises(UserError, match="closed: the authors of org/set ask you to accept their terms"):
        load_problems("closed")


def test_the_right_option_does_not_stay_first(served: SimpleNamespace) -> None:
    found = load_problems("closed")
    assert found == load_problems("closed") and {p.family for p in found} == {"Physics"}
    assert len({p.reference for p in found}) > 2
    for number, problem in enumerate(found):
        options = problem.metadata["options"]
        assert options["ABCD".index(problem.reference)] == f"right {number}"


def test_a_question_that_a_benchmark_asks_twice_counts_twice(served: SimpleNamespace) -> None:
    served.files[COMMIT]["test.jsonl"] = lines([*ROWS, ROWS[0] | {"answer": "3"}])
    found = load_problems("sums")
    assert len(found) == 3 and len({p.id for p in found}) == 3 and found[2].id == f"{found[0].id}-2"


def test_no_such_file_and_no_such_split(served: SimpleNamespace) -> None:
    del served.files[COMMIT]["test.jsonl"]
    with pytest.raises(UserError, match=r"org/set at a+ has no file like test\.jsonl, but dev\.jsonl, gpqa\.csv"):
        load_problems("sums")
    with pytest.raises(UserError, match="sums has no split 'train': it is a test, with the split held-out or shots"):
        load_problems("sums", "train")


def test_offline_says_what_to_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setenv("THINKLING_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(hub, "hub_answers", lambda: False)
    with pytest.raises(SystemExit) as end:
        cli.main(["tasks", "math500"])
    said = capsys.readouterr().err
    assert end.value.code == 2 and said.count("\n") == 1
    assert (
        f"math500 is not in {tmp_path}/cache/benchmarks/math500, and no Hub answers: run `thinkling tasks math500`"
        in said
    )


def test_the_cache_may_be_copied(served: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = load_problems("sums")
    (tmp_path / "cache").rename(tmp_path / "elsewhere")
    monkeypatch.setenv("THINKLING_CACHE", str(tmp_path / "elsewhere"))
    monkeypatch.setattr(hub, "hub_answers", lambda: False)
    assert load_problems("sums") == found


def test_tasks_shows_what_was_fetched(served: SimpleNamespace, capsys: pytest.CaptureFixture) -> None:
    cli.main(["tasks", "sums"])
    out = capsys.readouterr().out
    assert "sums: 2 problems" in out and f"org/set at {COMMIT}, in {home_of('sums')}" in out
    assert f"test.jsonl: sha256 {hashlib.sha256(lines(ROWS)).hexdigest()}" in out
    cli.main(["tasks"])
    listed = capsys.readouterr().out.splitlines()
    assert next(line for line in listed if line.startswith("sums")).endswith("two sums: 2 problems, in the cache")
    assert not next(line for line in listed if line.startswith("mmlu ")).endswith("in the cache")


def test_the_table_is_in_order() -> None:
    named = {"math500", "gsm8k", "aime24", "aime25", "amc23", "mmlu", "mmlu-pro", "gpqa-diamond"}
    assert set(published.BENCHMARKS) == named
    for name, row in published.BENCHMARKS.items():
        assert is_published(name) and is_published(f"{name}@{COMMIT}") and "held-out" in row.splits
        assert len(row.revision) in (0, 40) and all(len(sha256) == 64 for sha256 in row.sha256.values())
    assert [name for name, row in published.BENCHMARKS.items() if not row.revision] == ["gpqa-diamond"]
