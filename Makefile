# `make demo`, `make web` and `make test`: each sets up everything that it needs in .venv.
PYTHON ?= python3
BIN := .venv/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
# A worker that crashes ends the run, which names its test; it would else wait for ever.
PYTEST = $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder \
	--max-worker-restart 0
# What trains, exports and compares numbers, in a minute or two.
NUMBERS := $(addprefix tests/,atelier/test_strategy.py atelier/test_vgg.py cartoon/people/test_deeplab.py \
	classify/export/test_litert.py classify/test_train.py detection/network/test_resnet.py \
	detection/test_torchvision_parity.py nst/descent/test_objective.py superres/fixed_point/test_integer.py \
	superres/network/test_layers.py)
# TensorFlow turns oneDNN on by itself where the processor has one of these.
OTHER_ONEDNN := $(shell grep -qsE 'avx512_vnni|avx512_bf16|avx_vnni|amx_' /proc/cpuinfo && echo 0 || echo 1)

.PHONY: demo web test test-newest soak lint docs findings reproduce reproduce-cartoon reproduce-superres \
	reproduce-classify reproduce-detection paintings clean

demo: .venv/core
	@$(BIN)/python -m gallery.demo --out out/demo --overwrite

web: .venv/web
	@$(BIN)/python -m gallery.web

test: .venv/test lint
	$(PYTEST)
	TF_ENABLE_ONEDNN_OPTS=$(OTHER_ONEDNN) $(PYTEST) $(NUMBERS)

# What takes minutes a test: clusters with a worker killed, full disks, trainings killed and resumed.
soak: .venv/test
	$(PYTEST) -m soak -o faulthandler_timeout=1800

# With the newest of everything, as an installation without the constraints takes it. Gradio asks for
# an older Pillow, which is therefore brought up behind its back.
test-newest: BIN := .venv-newest/bin
test-newest: UPGRADE = $(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade
test-newest:
	$(PYTHON) -m venv .venv-newest
	$(UPGRADE) --upgrade-strategy eager --editable .[test]
	$(UPGRADE) --no-deps pillow
	$(PYTEST)

lint: .venv/test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# The pages of docs/ as a site, with all public functions and flags: site/index.html.
docs: .venv/docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

# Surprises of other people's software: each script shows one, and fails when it is gone.
findings:
	@failed=0; for f in findings/*.sh; do echo "== $$f"; bash $$f || failed=1; done; exit $$failed

# What needs data that does not come with the project.
reproduce: .venv/core
	$(BIN)/python -m nst.train --data $(DATA) $(if $(TEACHER),--teacher $(TEACHER))

# The person segmenter, from a folder DATA with people (images and masks), teachers (their .tflite
# files) and PHOTOS, folders of any photos. An hour.
reproduce-cartoon: .venv/test
	$(BIN)/python -m cartoon.train --data $(DATA)/people --teachers $(DATA)/teachers \
		$(if $(PHOTOS),--photos $(PHOTOS)) --out runs/person

# The embedded networks of superres/, from a folder DATA with T91, BSD200, Set5 and Set14; hours.
SETS = --data $(DATA)/T91 $(DATA)/BSD200 --validation $(DATA)/Set5 $(DATA)/Set14
SR = $(BIN)/python -m superres.train $(SETS)
reproduce-superres: .venv/core
	$(SR) --preset best --out runs/clean-float
	$(SR) --preset best-quantized --start runs/clean-float --out runs/clean
	$(SR) --preset best --degradation jpeg --epochs 16 --learning-rate 5e-3 \
		--start runs/clean-float --out runs/jpeg-float
	$(SR) --preset best-quantized --degradation jpeg --start runs/jpeg-float --out runs/compressed
	$(SR) --preset best --degradation proposed --epochs 55 --out runs/compressed-float
	$(SR) --preset best-quantized --degradation proposed --epochs 2 \
		--start runs/compressed-float --out runs/proposed
	for s in 3 4; do \
		$(SR) --preset best --scale $$s --crop $$((32 * s)) --epochs 20 --out runs/clean-x$$s-float && \
		$(SR) --preset best-quantized --scale $$s --crop $$((32 * s)) --epochs 2 \
			--start runs/clean-x$$s-float --out runs/clean-x$$s && \
		$(SR) --preset best --degradation jpeg --scale $$s --crop $$((32 * s)) --epochs 8 \
			--learning-rate 5e-3 --start runs/clean-x$$s-float --out runs/jpeg-x$$s-float && \
		$(SR) --preset best-quantized --degradation jpeg --scale $$s --crop $$((32 * s)) --epochs 2 \
			--start runs/jpeg-x$$s-float --out runs/compressed-x$$s || exit 1; done
	$(SR) --preset report --out runs/report-float
	$(BIN)/python -m superres.evaluate --data $(DATA) --sets Set5 Set14 \
		--runs runs/clean-float runs/clean runs/proposed runs/compressed runs/report-float

# The classifiers, from a folder DATA with CIFAR-10; DATA left out, Keras downloads it. Hours.
CIFAR = $(BIN)/python -m classify.train $(if $(DATA),--data $(DATA))
reproduce-classify: .venv/core
	$(CIFAR) --preset report --out runs/report
	for s in 0 1; do $(CIFAR) --preset strong --seed $$s --out runs/strong-$$s || exit 1; done
	$(CIFAR) --preset best --out runs/best
	$(BIN)/python -m classify.evaluate $(if $(DATA),--data $(DATA)) \
		--networks runs/report runs/strong-0 runs/strong-1 runs/best

# The embedded detectors, from a folder DATA with detection/bccd, detection/tiny_coco and people (images
# and masks), and NOBODY, a folder with the photos that docs/person-detector/nobody.txt names. Three hours.
DETECT = $(BIN)/python -m detection
reproduce-detection: .venv/core
	$(DETECT).train --data $(DATA)/detection/bccd --split train --validation val \
		--flips all --epochs 32 --out runs/blood-cells
	$(DETECT).evaluate --data $(DATA)/detection/bccd --split test --model runs/blood-cells
	$(DETECT).train --data $(DATA)/people $(DATA)/detection/tiny_coco --classes person \
		--groups docs/person-detector/people_groups.txt --paste $(DATA)/people --backgrounds $(NOBODY) \
		--min-size 256 --side 256 --jitter 1.6 --epochs 64 --learning-rate 8e-4 --out runs/person

# The project's own paintings, drawn anew.
paintings: .venv/core
	$(BIN)/python -m tools.paintings --out nst/styles --overwrite

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/core: .venv/bin/python setup.cfg pyproject.toml constraints.txt
	@echo "installing into .venv (some minutes, once)"
	$(INSTALL) --editable .
	@touch $@

.venv/web: .venv/core
	$(INSTALL) --editable .[web]
	@touch $@

.venv/test: .venv/core
	$(INSTALL) --editable .[test]
	@touch $@

.venv/docs: .venv/core
	$(INSTALL) --editable .[docs]
	@touch $@

clean:
	rm -rf .venv .venv-newest build out site *.egg-info
