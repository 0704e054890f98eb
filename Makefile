# make          set up .venv, run the experiments listed under `run:` in config.yaml, say where to look
# make test     everything that checks this project
# make bench    figures, beside public peers, in one run on this machine
# make bench-gpu  what a GPU here does, in at most eight minutes
# make new NAME=pets ROOT=data/pets  write pets.yaml, an experiment for the pictures there
# make docs     the documentation as a site, with the pages of the API: docs/site/index.html
# make slurm-demo  the digits experiment on a private SLURM (Debian, as root)
# make lock     resolve envs/*.txt anew
# make clean    remove .venv (results stay)

PYTHON ?= python3
CORES ?= all
BIN := .venv/bin
UV := $(BIN)/uv pip
# Where the home cannot be written, caches (of uv, Snakemake, Matplotlib) lie here.
export XDG_CACHE_HOME ?= $(shell test -w "$$HOME" && echo "$$HOME/.cache" || echo "$(CURDIR)/.snakemake/cache")
SLURM := slurm-wlm slurmdbd mariadb-server munge

.PHONY: run new test bench bench-gpu docs slurm-packages browser-package slurm-demo lock clean
.DELETE_ON_ERROR:

run: .venv/installed
	$(BIN)/snakemake --profile local --cores $(CORES)
	@echo; echo "Open:"; ls -1 results/*/index.html

new: .venv/installed
	@$(BIN)/python workflow/new.py '$(NAME)' '$(ROOT)'

# Hashes pin every file; bytecode is compiled now, so that no job pays for it later.
.venv/installed: envs/uv.txt envs/requirements.txt pyproject.toml workflow/executor/pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Pagoda needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version). Try: make PYTHON=python3.12" >&2; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r envs/uv.txt
	$(UV) install --python $(BIN)/python --require-hashes --compile-bytecode -r envs/requirements.txt
	$(UV) install --python $(BIN)/python --no-deps --no-build-isolation --compile-bytecode --editable . --editable workflow/executor
	@# A bare `snakemake` then takes local/config.yaml, unless SNAKEMAKE_PROFILE says otherwise.
	@echo 'export SNAKEMAKE_PROFILE="$${SNAKEMAKE_PROFILE-local}"' >> $(BIN)/activate
	@touch $@

.venv/installed-test: .venv/installed envs/test.txt envs/docs.txt
	$(UV) install --python $(BIN)/python --require-hashes --compile-bytecode -r envs/test.txt -r envs/docs.txt
	@touch $@

# The cluster's tests need Debian's SLURM; where it may not be installed, they are skipped and say so.
slurm-packages:
	@command -v slurmctld >/dev/null && command -v slurmdbd >/dev/null && command -v mariadbd >/dev/null || \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq $(SLURM) >/dev/null; \
	  else echo "the tests on a private SLURM are skipped: as root, apt-get install $(SLURM)"; fi

# The page's tests need Chromium, one of them Firefox; where they may not be installed, they are skipped and say so.
browser-package:
	@for browser in chromium firefox-esr; do command -v $$browser >/dev/null || \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq $$browser >/dev/null || \
	    echo "there is no $$browser to install: its tests of the page are skipped"; \
	  else echo "tests of the page are skipped: as root, apt-get install $$browser"; fi; done

# They ask axe-core whether everyone can use it; where npm is missing, that test is skipped and says so.
AXE := axe-core@4.10.3
AXE_SHA256 := 880970c081707360e64f34cea25ff91892f5bc95675b0776925b9709dd8a68bb
.venv/axe: .venv/installed
	@rm -rf $@; mkdir -p $@
	@if command -v npm >/dev/null && \
	  npm install --prefix $@ --silent --no-save --no-package-lock --no-audit --no-fund --ignore-scripts $(AXE); then \
	    echo "$(AXE_SHA256)  $@/node_modules/axe-core/axe.min.js" | sha256sum --check --quiet; \
	  else echo "the test of the page by axe-core is skipped: it needs npm, and what that fetches"; fi

slurm-demo: .venv/installed slurm-packages
	$(BIN)/python workflow/executor/tests/private_slurm.py $(BIN)/snakemake --profile slurm digits

test: .venv/installed-test slurm-packages browser-package .venv/axe
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check workflow
	$(BIN)/snakemake --lint
	$(BIN)/python -m pytest

# Peers are installed apart: nothing of ours can come to depend on them.
.venv/bench: .venv/installed envs/bench.txt
	rm -rf $@
	$(UV) install --python $(BIN)/python --require-hashes --no-deps --target $@ -r envs/bench.txt

bench: .venv/installed-test .venv/bench slurm-packages
	$(BIN)/python -m tests.bench.speed
	GLIBC_TUNABLES=glibc.malloc.hugetlb=1 $(BIN)/python -m tests.bench.accuracy # as the pipeline runs the steps
	$(BIN)/python -m tests.bench.scale
	$(BIN)/python -m tests.bench.certification
	$(BIN)/python workflow/executor/tests/bench.py
	$(BIN)/python workflow/executor/tests/soak.py

bench-gpu: .venv/installed
	$(BIN)/python -m tests.bench.gpu

docs: .venv/installed envs/docs.txt
	$(UV) install --python $(BIN)/python --require-hashes -r envs/docs.txt
	$(BIN)/python docs/build.py

COMPILE = $(UV) compile --quiet --generate-hashes --universal --python-version 3.11 --custom-compile-command "make lock"
lock: .venv/installed
	$(COMPILE) pyproject.toml workflow/executor/pyproject.toml --group pyproject.toml:build -o envs/requirements.txt
	$(COMPILE) --group pyproject.toml:test -c envs/requirements.txt -o envs/test.txt
	$(COMPILE) --no-deps --group pyproject.toml:bench -c envs/requirements.txt -o envs/bench.txt
	$(COMPILE) --group pyproject.toml:docs -c envs/requirements.txt -c envs/test.txt -o envs/docs.txt
	echo uv | $(COMPILE) - -o envs/uv.txt

clean:
	rm -rf .venv
