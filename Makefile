# Everything happens in .venv, which is made on first use. PYTHON chooses the interpreter (3.11 to 3.13).
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
# Python keeps what it compiles: where this is set, as in many containers, each of many processes would compile torch,
# terratorch and mlflow anew. uv leaves that to the first use.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: run smoke test check

run: $(READY)
	$(BIN)/python -m benchmark run all

smoke: $(READY)
	$(BIN)/python -m benchmark run all --profile smoke --out results/smoke

test: $(READY)
	$(BIN)/python -m pytest -m "not gpu" --numprocesses 2 --dist loadfile --no-loadscope-reorder

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# uv installs in a fraction of pip's time; where it cannot be had, pip does the same.
$(READY): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	if $(BIN)/python -m pip install --quiet uv; \
	then $(BIN)/uv pip install --python $(BIN)/python --constraint constraints.txt --editable '.[dev,embedding,intelex,services]'; \
	else $(BIN)/python -m pip install --constraint constraints.txt --editable '.[dev,embedding,intelex,services]'; fi
	touch $(READY)
