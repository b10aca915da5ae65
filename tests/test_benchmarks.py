"""The benchmark of training: it runs, compares the same networks, and counts and times what it says."""

import re
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import ROOT, load_script, run_script

sys.path.insert(0, str(ROOT / "benchmarks"))

import stopwatch
import train_in_keras
import training


def test_a_row_has_ours_the_ancestors_and_an_empty_column_where_torch_is_missing(tmp_path):
    no_torch = tmp_path / "python-without-torch"
    no_torch.write_text("#!/bin/sh\nexit 1\n")
    no_torch.chmod(0o755)
    options = ["--networks", "LeNet", "--rounds", "1", "--seconds", "0.2", "--torch-python", no_torch]
    done = run_script("benchmarks/training.py", *options, cwd=tmp_path)
    row = next(line for line in done.stdout.splitlines() if line.startswith("| LeNet"))
    network, batch, precision, ours, ancestor, pytorch, *ratios = (cell.strip() for cell in row.split("|")[1:-1])
    ours, ancestor = (float(cell.replace(",", "")) for cell in (ours, ancestor))
    assert (network, batch, pytorch) == ("LeNet", "128", "—")
    assert precision == load_script("1.LeNet/lenet.py").precision()
    assert float(ratios[0]) == pytest.approx(ours / ancestor, rel=0.01, abs=0.01)  # of speeds printed as whole numbers
    assert ratios[1] == ratios[4] == "—" and all(0.1 < float(memory) < 8 for memory in ratios[2:4])
    assert re.search(r"^\| geometric mean .*\| " + re.escape(ratios[0]), done.stdout, re.MULTILINE)
    assert f"{no_torch} has no torch" in done.stderr and "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == [no_torch]


def test_the_readmes_figures_of_speed_stand_in_the_tables():
    section = (ROOT / "README.md").read_text().split("\n## Speed\n")[1].split("\n## ")[0]
    figures = re.findall(r"(?<![\w-])\d[\d,]*(?:\.\d+)?(?![\w-])", section)
    measured = (ROOT / "benchmarks/README.md").read_text()
    missing = [figure for figure in figures if not re.search(rf"(?<![\d,.]){re.escape(figure)}(?!\d)", measured)]
    assert len(figures) > 6 and not missing


def test_an_unknown_network_is_refused(refused):
    assert "--networks AlexNet: there are LeNet, NIN" in refused("benchmarks/training.py", "--networks", "AlexNet")


def test_every_script_is_measured():
    scripts = {str(path.relative_to(ROOT)) for path in ROOT.glob("[1-8].*/*.py")}
    assert {command.split()[0] for command in training.NETWORKS.values()} == scripts and len(scripts) == 8


def test_sliced_convolutions_compute_what_the_grouped_ones_do():
    script = load_script("6.ResNeXt/resnext.py", CARDINALITY=4, GROUP_WIDTH=2)
    grouped = script.build_model((32, 32, 3), 10, [0.0] * 3, [1.0] * 3)
    sliced = train_in_keras.in_ancestors_style(script.keras, grouped)
    assert sum(getattr(layer, "groups", 1) > 1 for layer in grouped.layers) == 9
    assert not any(getattr(layer, "groups", 1) > 1 for layer in sliced.layers)
    for layer in grouped.layers:
        if getattr(layer, "groups", 1) > 1:
            kernels = np.split(layer.get_weights()[0], layer.groups, axis=3)
            for group, kernel in enumerate(kernels):
                sliced.get_layer(f"{layer.name}_{group}").set_weights([kernel])
        elif layer.get_weights() and not isinstance(layer, script.layers.Normalization):
            sliced.get_layer(layer.name).set_weights(layer.get_weights())
    x = np.random.default_rng(0).normal(size=(4, 32, 32, 3)).astype(np.float32)
    np.testing.assert_allclose(sliced.predict(x, verbose=0), grouped.predict(x, verbose=0), atol=1e-5)
    weights = [sum(weight.numpy().size for weight in model.trainable_weights) for model in (grouped, sliced)]
    assert weights[0] == weights[1]


def test_networks_with_different_parameters_are_not_compared(monkeypatch, capsys):
    result = {"images_per_second": 1.0, "memory": 1.0, "recipe": [128, 0.1, 0.9, 1e-4]}
    parameters = iter((62_006, 62_007))
    monkeypatch.setattr(training, "measure", lambda command: result | {"parameters": next(parameters)})
    with pytest.raises(SystemExit) as stopped:
        training.compare("LeNet", ["ours", "ancestor"], "data.npz", SimpleNamespace(rounds=1, seconds=1))
    assert stopped.value.code == 2 and "'ours': 62006, 'ancestor': 62007" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("first", "later", "seconds", "timed"), [(30, 20, 15, 2), (2, 0.5, 15, 30), (1, 0.01, 15, 250)]
)
def test_the_stopwatch_times_the_steps_after_the_warm_up(monkeypatch, first, later, seconds, timed):
    clock = iter(first + later * np.arange(1000.0))
    monkeypatch.setattr(stopwatch.time, "perf_counter", lambda: next(clock))
    watch, result, steps = stopwatch.Stopwatch(batch_size=10, seconds=seconds), None, 0
    while not result:
        result, steps = watch.step_ended(), steps + 1
    assert watch.to_time == timed and 2 <= steps - timed <= 90
    assert result["images_per_second"] == pytest.approx(10 / later)
    assert 0.05 < result["memory"] < 64
