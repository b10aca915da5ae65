"""The benchmarks of training and of its pipeline: they run, compare the same, and count and time what they say."""

import re
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import ROOT, load_script, run_script

from benchmarks import image_folder, input_pipeline, stopwatch, tf_data_pipeline, train_in_keras, training
from ensemble.common.scripts import training_scripts


def test_a_row_has_every_way_and_an_empty_column_where_torch_is_missing(tmp_path):
    no_torch = tmp_path / "python-without-torch"
    no_torch.write_text("#!/bin/sh\nexit 1\n")
    no_torch.chmod(0o755)
    options = ["--networks", "LeNet", "--rounds", "1", "--seconds", "0.2", "--torch-python", no_torch, "--before", ROOT]
    done = run_script("benchmarks/training.py", *options, cwd=tmp_path)
    row = next(line for line in done.stdout.splitlines() if line.startswith("| LeNet"))
    network, batch, precision, ours, ancestor, pytorch, before, *ratios = (
        cell.strip() for cell in row.split("|")[1:-1]
    )
    ours, ancestor, before = (float(cell.replace(",", "")) for cell in (ours, ancestor, before))
    assert (network, batch, pytorch) == ("LeNet", "128", "—")
    assert precision == load_script("1.LeNet/lenet.py").precision()
    for ratio, speed in ((ratios[0], ancestor), (ratios[2], before)):
        assert float(ratio) == pytest.approx(ours / speed, rel=0.01, abs=0.01)  # of speeds printed as whole numbers
    assert ratios[1] == ratios[5] == "—" and all(0.1 < float(ratios[i]) < 8 for i in (3, 4, 6))  # the last are GiB
    assert re.search(r"^\| geometric mean .*\| " + re.escape(ratios[0]), done.stdout, re.MULTILINE)
    assert f"{no_torch} has no torch" in done.stderr and "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == [no_torch]


def test_the_figures_of_speed_among_the_results_stand_in_the_tables():
    section = (ROOT / "results/README.md").read_text().split("\n## Speed\n")[1].split("\n## ")[0]
    figures = re.findall(r"(?<![\w-])\d[\d,]*(?:\.\d+)?(?![\w-])", section)
    measured = (ROOT / "benchmarks/README.md").read_text()
    missing = [figure for figure in figures if not re.search(rf"(?<![\d,.]){re.escape(figure)}(?!\d)", measured)]
    assert len(figures) > 6 and not missing


def test_an_unknown_network_is_refused(refused):
    assert "--networks Perceptron: there are LeNet" in refused("benchmarks/training.py", "--networks", "Perceptron")


def test_a_folder_without_scripts_is_no_older_checkout(refused, tmp_path):
    assert "there is no 1.LeNet/lenet.py" in refused("benchmarks/training.py", "--before", tmp_path)


def test_every_script_is_measured():
    scripts = {str(path.relative_to(ROOT)) for path in training_scripts()}
    assert {command.split()[0] for command in training.NETWORKS.values()} == scripts and len(scripts) == 10


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
    monkeypatch.setattr(training, "measure", lambda command, backend: result | {"parameters": next(parameters)})
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


def table(output):
    """Return {first cell: the other cells} of the rows of a Markdown table."""
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in output.splitlines() if line.startswith("| ")]
    return {first: others for first, *others in rows[1:]}


def test_every_pipeline_is_timed_with_every_augmentation(run):
    done = run("benchmarks/input_pipeline.py", "--no-steps", "--seconds", "0.02")
    rows = table(done.stdout)
    ways, augmentations = ("tf.data", "Batches, directly", "Batches, as Keras feeds it"), input_pipeline.AUGMENTATIONS
    expected = {f"{way}: {augmentation}" for way in ways for augmentation in augmentations}
    assert set(rows) == expected | {"ImageDataGenerator: flip, shift, constant"}
    for name, (median, spread, times) in rows.items():
        of_tf_data = rows[f"tf.data: {name.split(': ')[1]}"][0]
        median, least, most, of_tf_data = (
            float(text.replace(",", "")) for text in (median, *spread.split(" to "), of_tf_data)
        )
        assert 0 < least <= median <= most and float(times) == pytest.approx(median / of_tf_data, rel=0.01, abs=0.01)


def test_each_augmentation_is_timed_alone(run):
    rows = table(run("benchmarks/input_pipeline.py", "--each", "--seconds", "0.02").stdout)
    comment = re.search(r"^AUGMENT = .*any of (.*)$", (ROOT / "4.ResNet/resnet.py").read_text(), re.MULTILINE)[1]
    assert set(rows) == set(comment.split(", "))
    assert all(float(median.replace(",", "")) > 0 for median, _ in rows.values())


def test_images_of_a_folder_are_timed_beside_keras_own(run):
    rows = run("benchmarks/image_folder.py", "--seconds", "0.02").stdout.splitlines()
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in rows if line.startswith("| ")][1:]
    assert [row[:3] for row in rows] == [
        [what, way, size]
        for size in ("96x96", "224x224")
        for way in ("read in every epoch", "kept in memory")
        for what in (image_folder.KERAS, image_folder.OURS)
    ]
    for (*_, theirs, _, one), (*_, ours, _, times) in zip(rows[::2], rows[1::2], strict=True):
        theirs, ours = (float(text.replace(",", "")) for text in (theirs, ours))
        assert float(one) == 1 and float(times) == pytest.approx(ours / theirs, rel=0.05, abs=0.01)


def test_the_images_stay_in_memory_once_and_with_tf_data_twice(run):
    rows = table(run("benchmarks/input_pipeline.py", "--memory").stdout)
    (tf_data, tf_data_peak), (ours, ours_peak) = (map(float, cells) for cells in rows.values())
    assert list(rows) == ["tf.data", "Batches, as Keras feeds it"]
    assert 1 < ours < 2 < tf_data < 3.6 and ours <= ours_peak + 0.02 and tf_data <= tf_data_peak + 0.02


def test_a_made_up_cluster_ends_all_runs_and_says_what_the_driver_took(run):
    printed = run("benchmarks/many_runs.py", "--runs", 12, "--gpus", 12).stdout
    finished = int(re.search(r"; 12 runs, 12 at once, (\d+) finished", printed)[1])
    assert len(re.findall(r"^runs/run-\d+ +made_up +5 +\d", printed, re.MULTILINE)) == finished > 8
    assert float(re.search(r"its memory (\d+) MB", printed)[1]) > 20


@pytest.mark.parametrize("kind", [input_pipeline.TF_DATA, input_pipeline.DIRECT, input_pipeline.FED])
@pytest.mark.parametrize("fill", ["constant", "reflect"])
def test_all_pipelines_flip_and_shift_alike(monkeypatch, kind, fill):
    """Each image of an epoch comes once, and as one of the 162 images that it can become."""
    x = np.random.default_rng(0).integers(1, 256, (20, 32, 32, 3), dtype=np.uint8)
    monkeypatch.setattr(input_pipeline, "BATCH_SIZE", 10)
    monkeypatch.setattr(input_pipeline, "CLASSES", 20)  # the label says which image it was
    batches = iter(input_pipeline.pipeline(kind, f"flip, shift, {fill}", x, np.arange(20)))
    for _ in range(2):
        (images, labels), (more, more_labels) = next(batches), next(batches)
        images, labels = np.concatenate([images, more]), np.concatenate([labels, more_labels]).argmax(1)
        assert sorted(labels) == list(range(20)) and not np.array_equal(labels, np.arange(20))
        assert sum(np.array_equal(image, x[label]) for image, label in zip(images, labels, strict=True)) < 5
        for image, label in zip(images, labels, strict=True):
            wide = np.pad(x[label], [(4, 4), (4, 4), (0, 0)], fill)
            shifted = np.lib.stride_tricks.sliding_window_view(wide, x.shape[1:])[:, :, 0]
            assert any((both == image).all((2, 3, 4)).any() for both in (shifted, shifted[:, :, :, ::-1]))


def test_tf_data_can_do_all_six_augmentations():
    x, y = np.full((8, 32, 32, 3), 100, np.uint8), np.eye(8, dtype=np.float32)
    names, fill = input_pipeline.AUGMENTATIONS["all six, constant"]
    images, labels = tf_data_pipeline.augment(x, y, (0, 0), np.uint8([200] * 3), names, fill)
    np.testing.assert_allclose(np.sum(labels, axis=1), 1, atol=1e-5)
    assert images.dtype == "uint8" and np.array_equal([np.min(images), np.max(images)], [100, 200])
    assert 8 < np.count_nonzero(labels) <= 16
