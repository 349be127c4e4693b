# Everything that one does with the book. Needs Python 3.11 or newer and make;
# the rest is put into .venv (Python) and .vendor (browser libraries), both ignored by git.

# The first that is new enough.
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11 python; do \
  $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && \
  echo $$python && break; done)
PORT ?= 8000
NOTEBOOKS ?=
BUDGET ?= cpu
CHAPTER ?=

# A CPU build of PyTorch: the ordinary Linux wheel brings gigabytes of CUDA libraries.
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu

PY := .venv/bin/python
INSTALLED := .venv/.installed
VENDORED := .vendor/.installed
SITE := _build/html/.built
DOWNLOADS := _build/downloads
SOURCES = find _config.yml _toc.yml CHANGELOG.md book locale src tools -type f ! -path '*/.*' \
  ! -path '*.egg-info/*' ! -name '*.pyc'
CLEAN_SITE := _build/html _build/.doctrees _build/jupyter_execute

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help env book serve offline pdf copies lab notebooks colab participant slides test lint unit check-notebooks \
  check-site bench comparison limits freshness links messages untranslated translation clean FORCE

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

# --- the environment ---------------------------------------------------------------

env: $(INSTALLED) ## the Python environment in .venv

$(INSTALLED): pyproject.toml
	@test -n "$(PYTHON)" || { \
	  echo "The book needs Python 3.11 or newer, and there is none: $$(python3 --version 2>&1)."; \
	  echo "Install one, or say where it is: make PYTHON=/path/to/python3.13"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "$(PYTHON) is no Python 3.11 or newer, and the book needs one (make PYTHON=...)."; exit 1; }
	@test -x $(PY) && $(PY) -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear .venv || { \
	  rm -rf .venv; \
	  echo "Could not make a virtual environment. On Debian and Ubuntu: apt-get install python3-venv"; exit 1; }
	@echo "Installing into .venv (about 2 GB; some minutes the first time) ..."
	@torch=$$(sed -n 's/^ *"\(torch==.*\)",/\1/p' pyproject.toml); \
	  $(PY) -m pip install -qqq --no-deps --retries 0 --timeout 15 \
	    --index-url $(TORCH_INDEX) "$$torch" 2>/dev/null || \
	  echo "No CPU build of PyTorch from $(TORCH_INDEX); taking the ordinary one."
	@$(PY) -m pip install -qq --editable '.[book,test]'
	@touch $@

# MathJax, the widget manager, fonts, axe and esbuild: by npm, which itself comes with
# pip. The pages are served these parts of them, under vendor/.
SERVED := requirejs/require.js @jupyter-widgets/html-manager/dist/embed-amd.js \
  @jupyter-widgets/html-manager/dist/*.woff2 mathjax/es5/tex-mml-chtml.js \
  mathjax/es5/a11y mathjax/es5/sre mathjax/es5/output/chtml \
  @fontsource-variable/*/LICENSE \
  @fontsource-variable/*/files/source-*-latin-wght-*.woff2 \
  @fontsource-variable/*/files/source-*-greek-wght-*.woff2
$(VENDORED): tools/site/package.json tools/site/package-lock.json tools/site/.npmrc $(INSTALLED)
	@echo "Fetching the browser libraries into .vendor ..."
	@rm -rf .vendor && mkdir -p .vendor/site/vendor
	@cp tools/site/package.json tools/site/package-lock.json tools/site/.npmrc .vendor/
	@cd .vendor && PATH="$(CURDIR)/.venv/bin:$$PATH" npm ci --silent
	@cd .vendor/node_modules && tar cf - $(SERVED) | tar xf - -C ../site/vendor
	@touch $@

# --- the site ----------------------------------------------------------------------

book: $(SITE) ## build the site and say how to open it
	@echo
	@echo "The book is built. Open this file in a browser:"
	@echo "  $(CURDIR)/_build/html/index.html"
	@echo "or run 'make serve' and open http://127.0.0.1:$(PORT)"

serve: $(SITE) ## serve the built site on this machine (PORT=8000)
	@echo "http://127.0.0.1:$(PORT) (Ctrl-C stops)"
	@$(PY) -m http.server $(PORT) --bind 127.0.0.1 --directory _build/html

# Rebuilt when a file changes, comes or goes. Their sums are kept in one file, as make
# reads a space or a colon in a file's name as something else.
_build/sources: FORCE
	@mkdir -p _build
	@$(SOURCES) -exec cksum {} + | LC_ALL=C sort > $@.new
	@if cmp -s $@.new $@; then rm $@.new; else mv $@.new $@; fi

$(SITE): _build/sources $(INSTALLED) $(VENDORED)
	@rm -rf $(CLEAN_SITE)
	@$(PY) -m tools.workshop.downloads
	@.venv/bin/jupyter-book build . -W -n --keep-going
	@$(PY) -m tools.site.translation publish
	@touch $@

offline: $(SITE) ## the site as a zip that opens from a USB stick, without a network
	@$(PY) -m tools.site.offline

# The workshop's two zips, which the site serves.
$(DOWNLOADS): $(INSTALLED) $(VENDORED)
	@$(PY) -m tools.workshop.downloads

pdf: $(SITE) ## the whole book as one PDF, by Chromium (CHAPTER=04: that chapter; CHAPTER=all: each by itself)
	@$(PY) -m tools.site.pdf $(if $(CHAPTER),--chapter $(CHAPTER))

copies: $(INSTALLED) ## copies of the notebooks in notebooks/, yours to run and to change
	@$(PY) -m tools.notebooks.copies notebooks

lab: copies ## open them in JupyterLab
	@.venv/bin/jupyter-lab --notebook-dir notebooks

notebooks: $(INSTALLED) ## run the notebooks again and store them in normal form (NOTEBOOKS="a.ipynb b.ipynb")
	@$(PY) -m tools.notebooks.rerun $(NOTEBOOKS)

colab: $(INSTALLED) ## copies of the notebooks for Colab, which install the package at this commit
	@rm -rf _build/colab
	@$(PY) -m tools.notebooks.copies --colab _build/colab

# --- the workshop ------------------------------------------------------------------

participant: $(INSTALLED) ## notebooks without solutions, and all that participants need, as a zip
	@$(PY) -m tools.workshop.participant

slides: $(INSTALLED) $(VENDORED) ## slides made from the chapters, which open without a network
	@$(PY) -m tools.workshop.slides

# --- the tests ---------------------------------------------------------------------

# Two tests, or two notebooks, run at once: with one thread each, as threads that wait
# for each other's turn cost more than they compute. What Python compiles is kept, whatever
# the shell says: many tests start a process, and each would compile the package again.
BESIDE := OMP_NUM_THREADS=1 PYTHONDONTWRITEBYTECODE=

# Each worker begins with a half of the tests in their order, so that what a module's
# tests share is made once; who is done first takes tests from the other.
TWO_WORKERS := -n 2 --dist worksteal

# Unit tests have moments in which they wait, and the site is built in them; a browser
# waits most of the time, and notebooks run meanwhile.
test: lint ## everything: style, unit tests, notebooks, site, browser
	@$(MAKE) --no-print-directory -j 2 unit $(SITE)
	@$(MAKE) --no-print-directory -j 2 check-notebooks check-site

lint: $(INSTALLED) ## ruff, the spelling, and which room may import which
	@.venv/bin/ruff check
	@.venv/bin/ruff format --check
	@.venv/bin/codespell
	@.venv/bin/lint-imports --no-logo

unit: $(INSTALLED) $(VENDORED) ## the package's tests
	@$(BESIDE) $(PY) -m pytest -q $(TWO_WORKERS)

# The one chapter that compiles something; in CI it may not be left out.
COMPILES := book/10_the_fast_path.ipynb
LEFT_OUT = $(if $(CI)$(shell command -v g++),,--ignore=$(COMPILES))

check-notebooks: $(INSTALLED) ## run every notebook and compare every text output with the stored one
	@test -z "$(LEFT_OUT)" || \
	  echo "!!! NOT CHECKED, because there is no g++ (on Debian: apt-get install g++): $(COMPILES)"
	@$(BESIDE) $(PY) -m pytest -q -n 2 --dist loadscope --nbval --nbval-current-env $(LEFT_OUT) \
	  --nbval-cell-timeout 300 --nbval-sanitize-with tests/nbval_sanitize.cfg book

check-site: $(SITE) ## build the site strictly, follow its links, look at every page in Chromium
	@$(PY) -m tools.checks.links
	@$(BESIDE) $(PY) -m pytest -q $(TWO_WORKERS) -m browser tests/pages

bench: $(INSTALLED) ## measure on this CPU, and record it in benchmarks/results
	@for question in operator_forms chunks training_step generation squared_relu_zeros; do \
	  $(PY) benchmarks/$$question.py || exit 1; done

comparison: $(INSTALLED) ## train all contenders on equal terms, and record it (half an hour; BUDGET=tiny: two minutes)
	@$(PY) benchmarks/training_comparison.py --budget $(BUDGET)

# --- what need not hold up a change --------------------------------------------------

# The environment of Binder, as far as pip alone can build it, in a folder of its own.
.environment/.installed: environment.yml postBuild pyproject.toml tools/checks/environment.py | $(INSTALLED)
	@rm -rf .environment
	@$(PY) -m tools.checks.environment .environment
	@touch $@

limits: .environment/.installed ## run every notebook as Binder would: 2 cores, 1 GiB (RECORD=1 keeps the table)
	@.environment/bin/python -m tools.checks.limits $(if $(RECORD),--record)

freshness: $(INSTALLED) ## which recorded results are older than the code that they measure
	@$(PY) -m tools.checks.freshness

links: $(INSTALLED) $(VENDORED) $(DOWNLOADS) ## follow the links to other sites, which needs the network
	@.venv/bin/jupyter-book build . -q --builder custom --custom-builder linkcheck

# --- other languages -----------------------------------------------------------------

LANGUAGE = zh_CN
PAGES =

messages: $(INSTALLED) ## bring the catalogues of LANGUAGE=zh_CN up to date (PAGES="book/index": of these)
	@$(PY) -m tools.site.translation messages $(LANGUAGE) $(PAGES)

untranslated: $(INSTALLED) ## what of LANGUAGE=zh_CN is not translated, or from an older text
	@$(PY) -m tools.site.translation report $(LANGUAGE) $(PAGES)

translation: $(INSTALLED) $(VENDORED) ## build the pages in LANGUAGE=zh_CN (half a minute)
	@$(PY) -m tools.site.translation site $(LANGUAGE)

clean: ## remove the built site; the environments stay
	@rm -rf _build
