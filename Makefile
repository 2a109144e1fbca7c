# Everything from a bare machine with Python 3.11-3.13:
#   make demo     set up, then train, test and judge DrFuse on the synthetic cohort
#   make test     set up, then run the whole test suite
# The environment is made once, in .venv, and remade when pyproject.toml or the constraints change.

PYTHON ?= python3
VENV   ?= .venv
BIN     = $(VENV)/bin
READY   = $(VENV)/.ready
JOBS   ?= 2

.PHONY: demo test lint format truth truth_ecg benchmarks clean help

help:
	@sed -n 's/^#\( \|$$\)//p' Makefile | head -4

$(READY): pyproject.toml constraints.txt plugins/cardiozoo-gmu/pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(not (3, 11) <= v <= (3, 13))' || \
	  { echo "$(PYTHON) is $$($(PYTHON) -V); cardiozoo needs Python 3.11 to 3.13. Try: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || \
	  { echo "python3 -m venv failed; on Debian and Ubuntu: apt-get install python3-venv"; exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]' -e plugins/cardiozoo-gmu
	@touch $(READY)

demo: $(READY)
	$(BIN)/cardiozoo fit --model drfuse --data mimic_cxr_ehr

test: $(READY)
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal

# Do the models find what was planted? About half an hour on two cores; finished steps are not repeated.
truth: $(READY)
	$(BIN)/python examples/planted_truth.py --work build/truth

# The same for ECGs: about an hour on two cores.
truth_ecg: $(READY)
	$(BIN)/python examples/planted_truth_ecg.py --work build/truth_ecg

# Each against a named baseline; --help of each script tells its options.
benchmarks: $(READY)
	for name in prepare loader missing_cxr startup prepare_ecg ecg_loader ls_emvae_step finetune_cache; do $(BIN)/python benchmarks/$$name.py || exit 1; done

lint: $(READY)
	$(BIN)/ruff check . && $(BIN)/ruff format --check .

format: $(READY)
	$(BIN)/ruff check --fix . && $(BIN)/ruff format .

clean:
	rm -rf $(VENV) build *.egg-info .pytest_cache .ruff_cache
