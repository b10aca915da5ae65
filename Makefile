PYTHON ?= python3
BIN := $(CURDIR)/.venv/bin
PIP_INSTALL := $(BIN)/pip install --quiet --disable-pip-version-check

.PHONY: setup demo backends test machines-test cluster-test faults lint
.DELETE_ON_ERROR:

# TensorFlow's extra and-cuda is CUDA and cuDNN, which nothing but an NVIDIA GPU has a use for
setup: .venv/installed

.venv/installed: requirements.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; (3, 11) <= v <= (3, 13) or sys.exit("error: $(PYTHON) is Python %d.%d; 3.11, 3.12 or 3.13 is needed: make ... PYTHON=python3.13" % v)'
	@$(PYTHON) -m venv .venv
	@if nvidia-smi > /dev/null 2>&1; then \
		echo "nvidia-smi answers: installing TensorFlow for NVIDIA GPUs, Keras and the rest into .venv, some minutes ..."; \
		$(PIP_INSTALL) -r requirements.txt "$$(sed -n 's/^tensorflow>/tensorflow[and-cuda]>/p' requirements.txt)"; \
	else \
		echo "Installing TensorFlow, Keras and the rest into .venv, a minute or two ..."; \
		$(PIP_INSTALL) -r requirements.txt; \
	fi
	@touch $@

.venv/installed-dev: .venv/installed requirements-dev.txt
	@echo "Installing what the tests need into .venv ..."
	@$(PIP_INSTALL) -r requirements-dev.txt
	@touch $@

# Three small networks on scikit-learn's digits, in demo/; what is finished there is not trained again. In float32, so that
# the figures do not depend on what the CPU has
demo: setup
	@mkdir -p demo
	cd demo && $(call once,lenet-plain,../1.LeNet/lenet.py --epochs 15 --preprocess scale --augment none --weight-decay 0)
	cd demo && $(call once,lenet-shift,../1.LeNet/lenet.py --epochs 15 --augment shift --weight-decay 0 --seed 1)
	cd demo && $(call once,resnet-8,../4.ResNet/resnet.py --epochs 8 --depth 8 --batch-size 32 --schedule cosine --augment shift)
	cd demo && $(BIN)/python ../ensemble/voting.py runs/*/model.h5 --out voting
	cd demo && $(BIN)/python ../ensemble/weighted_mean.py runs/*/model.h5 --out weighted_mean
	cd demo && $(BIN)/python ../ensemble/compare.py runs/*/model.h5 --out compare
	@echo; echo "Pictures: demo/runs/*/curves.png, demo/*/ensemble.png; and a page of all: demo/compare/report.html"

once = { [ -f runs/$(1)/run.json ] || $(BIN)/python $(2) --data digits --precision float32 --run $(1); }

# The same network trained on each backend, in demo/backends/; then the three models vote
backends: .venv/installed-dev
	@echo "Installing PyTorch into .venv, some minutes ..."
	@$(PIP_INSTALL) -r requirements-backends.txt
	@mkdir -p demo/backends
	cd demo/backends && export KERAS_BACKEND=tensorflow && $(call on_backend,tensorflow)
	cd demo/backends && export KERAS_BACKEND=jax && $(call on_backend,jax)
	cd demo/backends && export KERAS_BACKEND=torch && $(call on_backend,torch)
	cd demo/backends && $(BIN)/python ../../ensemble/voting.py runs/*/model.h5 --out voting

on_backend = $(call once,$(1),../../4.ResNet/resnet.py --epochs 5 --depth 8 --batch-size 32 --schedule cosine)

test: .venv/installed-dev
	$(BIN)/python -m pytest -n 2 --dist loadgroup

# What of one run on two processes takes too long for `make test`: every schedule, either process killed
machines-test: .venv/installed-dev
	MACHINES_TEST=yes $(BIN)/python -m pytest tests/test_machines.py

# A Ray cluster on this machine, one of its nodes killed in mid-run; Ray is a download of 79 MB
cluster-test: .venv/installed-dev
	@echo "Installing Ray into .venv ..."
	@$(PIP_INSTALL) -r requirements-cluster.txt
	$(BIN)/python -m pytest tests/ray_cluster.py

# Every case of tests/faults/, not only the quick ones that are in the suite; the table goes to its README.md
faults: .venv/installed-dev
	$(BIN)/python tests/faults/run.py

lint: .venv/installed-dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
