"""bench/distil.py without training: each arm reads as many tokens, of the traces that it is to read; the table."""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "bench"))

from distil import NOT_YET, SPLITS, Bench, Work, data, folder_of, row, shortest, table, verified

ROWS = [
    {"id": "a", "correct": True, "num_tokens": 30}, {"id": "a", "correct": True, "num_tokens": 20},
    {"id": "a", "correct": False, "num_tokens": 10}, {"id": "b", "correct": False, "num_tokens": 40},
    {"id": "c", "correct": True, "num_tokens": 50},
]  # fmt: skip


def read(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_each_arm_reads_as_many_tokens_of_its_own_traces(tmp_path: Path) -> None:
    work = Work(Bench(), tmp_path, 1000, 0, ROWS)
    for chosen, own in ((list, ROWS), (verified, [ROWS[0], ROWS[1], ROWS[4]]), (shortest, [ROWS[1], ROWS[4]])):
        found = read(data(work, chosen))
        total = sum(trace["num_tokens"] for trace in found)
        assert 1000 <= total < 1050
        passes = [found[start : start + len(own)] for start in range(0, len(found) - len(own), len(own))]
        for each in passes:  # every trace once before any comes again
            assert sorted(map(str, each)) == sorted(map(str, own))
        assert found != read(data(Work(Bench(), tmp_path, 1000, 1, ROWS), chosen))
    assert work.steps("distill") == 1 and Work(Bench(), tmp_path, 19_200, 0, ROWS).steps("distill") == 10
    assert Work(Bench(), tmp_path, 19_200, 0, ROWS).steps("grpo") == 5  # 30 tokens, 128 replies


def test_the_table_has_means_over_seeds_and_says_what_is_missing(tmp_path: Path) -> None:
    bench = Bench(out=tmp_path, num_seeds=3)
    for seed, right in enumerate(([True, True, True, True], [True, False, True, False])):
        out = folder_of(bench, "RL", 9, seed)
        out.mkdir()
        found = dict.fromkeys(SPLITS, right) | {"seconds": 10.0 + 10 * seed, "tokens": 4000}
        (out / "result.json").write_text(json.dumps(found))
    some = {split: [True, False, False, False] for split in SPLITS}
    lines = {line.split(" | ")[0]: line for line in table(bench, 9, some, some).splitlines()}
    assert lines["| RL"].startswith("| RL | 75%, +50 [")  # beside the student's 25%, problem by problem
    assert lines["| RL"].endswith("| 100%, 50% | 4k | 15 |")
    assert lines["| on-policy"] == f"| on-policy | {' | '.join([NOT_YET] * 6)} |"
    assert lines["| nothing"].startswith("| nothing | 25% [") and lines["| nothing"].endswith("| | | |")
    assert row("x", [], "held-out").count("|") == lines["| RL"].count("|")
