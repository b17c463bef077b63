# Two commands do all the set-up: `make train` and `make test`. The rest is for those who work on rnnlab.
PYTHON ?= python3
BIN := .venv/bin
QUICKSTART := runs/quickstart
# where the environment forbids it, every process of the suite would compile our modules anew: a sixth of its start
export PYTHONDONTWRITEBYTECODE :=
# one thread a process: the workers of the suite would otherwise compete for the cores with twice as many
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest

.PHONY: install train test test-isa lint check soak faults findings bench bench-gpu gpu wheel clean

install: .venv/installed

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	mkdir -p .venv/types/rnnlab
	touch .venv/types/rnnlab/__init__.py
	ln -sfn ../../../components .venv/types/rnnlab/components
	ln -sfn ../../../studies .venv/types/rnnlab/studies
	touch $@

# a minute or two of training on one core, on text that every Python carries
train: install
	rm -rf $(QUICKSTART)
	$(BIN)/rnnlab train sha_rnn size/tiny --bytes 1000000 --run $(QUICKSTART)
	@echo
	@echo "What it writes after 'def ':"
	@$(BIN)/rnnlab generate $(QUICKSTART) --prompt 'def ' --bytes 200 --temperature 0.7
	@echo
	@echo
	@echo "Look at it:  $(BIN)/rnnlab board $(QUICKSTART)"

# all but the fault matrix and what takes minutes, which `make faults` runs
test: install
	$(PYTEST) -n 4 --dist worksteal -m 'not long and not matrix'

# the tests that compare numbers, as other processors would compute them; ten minutes
test-isa: install
	$(BIN)/python -m tests.isa

# everything that reads code without running it
lint: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

# the same, and the tests that are quick, of the rooms where a change breaks most: parts, composition, storage, layout
QUICK := components laws/test_the_laws_catch_mutants.py docs/test_words.py rnnlab/config rnnlab/data \
	rnnlab/storage rnnlab/test_architecture.py rnnlab/test_model.py rnnlab/test_registry.py
check: lint
	$(PYTEST) -n 2 --dist worksteal -m 'not slow and not long and not faults and not packaging' -q $(QUICK:%=tests/%)

# the fault matrix, and the other tests that take minutes
faults: install
	$(BIN)/python -m tests.faults
	$(PYTEST) -n 4 --dist worksteal -m 'long and not soak and not matrix and not findings'

# the command of every page in docs/findings, at a budget of two steps: it still works
findings: install
	$(PYTEST) -n 2 -m findings

# hours: every combination of parts in place of every pair, the fault matrix with the counts of a soak test, and what of the
# long tests is more of the same: every part compiled, every core exported, every study that ships
soak: install
	RNNLAB_SOAK=1 $(PYTEST) -n 2 tests/rnnlab/test_compositions.py tests/studies/ablation/test_on_slurm.py
	$(BIN)/python -m tests.faults --soak
	$(PYTEST) -n 2 -m soak --timeout 3600

# the targets and what this machine reaches; a quarter of an hour in which nothing else should run
bench: install
	$(BIN)/python -m bench --out bench.json

bench-gpu: install
	$(BIN)/python -m bench --device cuda --out bench-gpu.json

# what only a GPU can show, in four stages of a few minutes: make gpu STAGE=1 CORPUS=data.txt; by the Python that has the
# torch of the machine, with rnnlab installed into it
CORPUS := enwik8
gpu:
	$(PYTHON) -m bench.gpu $(STAGE) --corpus $(CORPUS)

wheel: install
	rm -rf dist
	$(BIN)/python -m build

clean:
	rm -rf .venv build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache artifacts
