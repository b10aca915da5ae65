"""Files that programs left, with fields that are not what they must be; and files that are none, or enormous."""

import argparse
import json
import os
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import ROOT, load_script
from sample_records import ENSEMBLE, RUN, changed

from ensemble import export, predict
from ensemble.combining.predictions import PARTS
from ensemble.common import checks
from ensemble.common.command import RefusedError
from ensemble.common.files import file_hash
from ensemble.common.history import read_history
from ensemble.common.images import read_image
from ensemble.common.records import check_alike, read_run
from ensemble.common.schemas import MOST_BYTES
from ensemble.members import data, predicting, speed
from ensemble.members.kept import kept_form, kept_predictions
from ensemble.model_files.forms import Form
from ensemble.results.record import result_folder
from tools import images_to_npz, minutes, result_records

DEEP = "[" * 100_000


# Fields
@pytest.mark.parametrize(
    ("record", "words"),
    [
        (changed(RUN, settings__DATA=["digits"]), "settings.DATA must be a text, got a list"),
        (changed(RUN, settings__HOLD_OUT=[1]), "settings.HOLD_OUT must be a whole number, got a list"),
        (changed(RUN, settings__HOLD_OUT="many"), "settings.HOLD_OUT must be a whole number, got a text"),
        (changed(RUN, settings__HOLD_OUT=-1), "settings.HOLD_OUT must be a whole number >= 0"),
        (changed(RUN, settings__HOLD_OUT=float("nan")), "the number NaN is not finite"),
        (json.dumps(RUN).replace("5000", "1e400"), "the number 1e400 is not finite"),
        (changed(RUN, settings__AUGMENT=[["flip"]]), "settings[...][0] must be"),
        (changed(RUN, parameters="many"), "parameters must be a whole number, got a text"),
        (changed(RUN, parameters=[1]), "parameters must be a whole number, got a list"),
        (changed(RUN, parameters=10**399), "parameters must be a whole number <= "),
        (changed(RUN, model=None), "lacks model"),
        (DEEP, "it is nested too deep"),
        ('{"settings": ' + DEEP, "it is nested too deep"),
        ("", "Expecting value"),
    ],
)
def test_a_run_with_a_bad_field_is_one_line(tmp_path, record, words):
    file = tmp_path / "run.json"
    file.write_text(record if isinstance(record, str) else json.dumps(record))
    for read in (read_run, lambda path: check_alike(path.parent, path.parent)):
        with pytest.raises(RefusedError) as refusal:
            read(tmp_path / "model.h5")
        line = str(refusal.value)
        assert (
            line.startswith(f"{file} is damaged: {words}") and "away" in line and "\n" not in line and len(line) < 400
        )


def test_what_stands_in_a_good_run_is_left_as_it_is(tmp_path):
    more = {"DATA": "caf\udce9.npz", "AUGMENT": ["flip"], "MILESTONES": [0.5, 1], "NEW": None}  # of no UTF-8 name
    (tmp_path / "run.json").write_text(json.dumps(RUN | {"settings": RUN["settings"] | more, "new": [[1]]}))
    assert read_run(tmp_path / "model.h5")["settings"] == RUN["settings"] | more
    for file in ROOT.glob("results/*.json"):
        assert result_records.read_record(file)


SCORE = {"validation": {"accuracy": 0.5, "loss": 1.0}}
TWO = changed(ENSEMBLE, members=ENSEMBLE["members"][:2])


def method(name="grid", **more):
    return changed(TWO, methods={name: SCORE | more})


@pytest.mark.parametrize(
    ("record", "words"),
    [
        (changed(TWO, members=[]), "members must be a list of length >= 1"),
        (method("soft voting", temperature=0), "methods['soft voting'].temperature must be a number >= 0.001"),
        (method("soft voting", temperature=-1), "temperature must be a number >= 0.001"),
        (method("soft voting", temperature=1e300), "temperature must be a number <= 1000"),
        (method("soft voting", temperature="warm"), "temperature must be a number or nothing, got a text"),
        (method(weights=[1.0, -0.5]), "methods['grid'].weights[1] must be a number >= 0"),
        (method(weights=[0.5, float("nan")]), "the number NaN is not finite"),
        (method(weights=[0.5, 0.4]), "grid: its weights sum to 0.9, and not to 1"),
        (method(weights=[0.0, 0.0]), "grid: its weights sum to 0, and not to 1"),
        (method(weights=[1.0]), "grid: it has 1 weights for 2 members"),
        (method(tempered_weights=[0.5, 0.5], temperatures=[1.0]), "grid: it has 1 temperatures for 2 weights"),
        (method(tempered_weights=[0.5, 0.5], temperatures=[1.0, 0]), "temperatures[1] must be a number >= 0.001"),
        (method(kernel=[[1.0]], bias=[0.0]), "grid: its kernel, (1, 1), is not for 1 classes of every member"),
        (method(kernel=[[1.0], "a"], bias=[0.0]), "kernel[1] must be a list, got a text"),
        (method("weighted mean"), "weighted mean: its weights sum to 0.5, and not to 1"),
        (changed(TWO, methods={"soft voting": {}}), "methods['soft voting'] lacks validation"),
        (changed(TWO, methods=[]), "methods must be a group of values, got a list"),
        (changed(TWO, data=None), "lacks data"),
        (
            changed(TWO, members=[{**TWO["members"][0], "form": {"scale": 0}}]),
            "members[0].form.scale must be a number > 0",
        ),
        (changed(TWO, members=[{**TWO["members"][0], "form": {"sc": 1}}]), "members[0].form Object contains unknown"),
        (changed(TWO, members=[{**TWO["members"][0], "form": {"class_order": [0, 2]}}]), "class_order has not each"),
        (DEEP, "it is nested too deep"),
    ],
)
def test_export_refuses_a_record_with_a_bad_field(tmp_path, capsys, record, words):
    file = tmp_path / "ensemble.json"
    file.write_text(record if isinstance(record, str) else json.dumps(record))
    try:
        export.read_record(file, None)
    except RefusedError as error:
        line = str(error)
    except SystemExit:
        line = capsys.readouterr().err.strip().partition(": ")[2]
    assert line.startswith(f"{file} is damaged: ") and words in line and "compare.py, weighted_mean.py" in line
    assert "\n" not in line


def test_a_damaged_result_is_of_another_ensemble(tmp_path, capsys):
    member = SimpleNamespace(model="a", form=None, split="b")
    (tmp_path / "ensemble.json").write_text(DEEP)
    with pytest.raises(SystemExit):
        result_folder("s.py", [member], tmp_path, {})
    assert "is the result of another ensemble and stays as it is" in capsys.readouterr().err


LABELS = np.arange(20) % 4
GOOD = {
    f"{part}_{what}": value
    for part in PARTS
    for what, value in (("probabilities", np.eye(4)[LABELS]), ("labels", LABELS))
}


@pytest.mark.parametrize(
    "bad",
    [
        {"test_probabilities": np.eye(4)[LABELS][..., np.newaxis]},
        {"test_probabilities": np.eye(4)[LABELS].astype(complex)},
        {"test_probabilities": np.eye(4)[LABELS].astype(str)},
        {"test_probabilities": np.eye(5)[LABELS]},
        {"test_probabilities": np.eye(4)[LABELS].astype(int)},
        {"test_labels": LABELS.astype(float)},
        {"test_labels": LABELS.astype(str)},
        {"test_labels": LABELS[:, np.newaxis]},
        {"test_labels": LABELS[:0], "test_probabilities": np.empty((0, 4))},
        {"parameters": "9" * 400},
        {"size": [28]},
        {"size": [28.0, 28.5]},
        {"outputs": "words"},
        {"form": '{"scale": NaN}'},
        {"form": DEEP},
    ],
)
def test_predictions_of_another_kind_are_damaged(tmp_path, bad):
    path = tmp_path / "m.h5"
    path.write_bytes(b"model")
    about = {"model": file_hash(path), "data": "digits", "split": "0" * 16}
    kept = GOOD | about | {"form": "{}", "outputs": "probabilities", "parameters": 1, "data_sha256": "", "hold_out": 1}
    file = tmp_path / "m.h5.predictions.npz"
    np.savez(file, **kept)
    assert kept_predictions(path, file_hash(path), None, None)
    np.savez(file, **(kept | bad))
    with pytest.raises(RefusedError, match=r"m\.h5\.predictions\.npz is damaged; delete it"):
        kept_predictions(path, file_hash(path), None, None)
    file.unlink()
    if "form" not in bad and not bad.keys() & {"parameters", "size", "outputs"}:
        (tmp_path / "run.json").write_text(json.dumps(RUN))
        np.savez(tmp_path / "predictions.npz", **(GOOD | about | bad))
        with pytest.raises(RefusedError, match=r"predictions\.npz is damaged; delete it"):
            kept_predictions(path, file_hash(path), None, None)


@pytest.mark.parametrize("text", ["Infinity", "NaN", "1e400", "1e300", "0", "-1", '"fast"', "null", DEEP])
def test_seconds_that_cannot_be_are_measured_anew(tmp_path, monkeypatch, text):
    member = SimpleNamespace(path=tmp_path / "m.h5", model="a", split="b", form=None)
    monkeypatch.setattr(speed, "measure_seconds", lambda member: 7.5)
    assert speed.seconds_per_thousand([member]) == [7.5]
    file = tmp_path / "m.h5.seconds.json"
    kept = file.read_text()
    file.write_text(kept.replace("7.5", "2.5"))
    assert speed.seconds_per_thousand([member]) == [2.5]
    file.write_text(kept.replace("7.5", text))
    assert speed.seconds_per_thousand([member]) == [7.5] and file.read_text() == kept


@pytest.mark.parametrize("weights", ["1e308,1e308", "inf,1", "nan,1", "-1,2", "0,0"])
def test_weights_of_an_infinite_sum_are_refused(monkeypatch, capsys, weights):
    command = ["predict.py", "a.h5", "b.h5", "--images", "a.png", f"--weights={weights}"]
    monkeypatch.setattr(sys, "argv", command)
    with pytest.raises(SystemExit):
        predict.read_options()
    assert capsys.readouterr().err == (
        f"predict.py: --weights {weights}: give 2 numbers from 0 up, not all 0, of a finite sum\n"
    )
    command[-1] = "--weights=5e-324,5e-324"
    assert predict.read_options().weights.tolist() == [0.5, 0.5]


@pytest.mark.parametrize(
    "text", ["", "epoch\n1\n", "seconds,val_accuracy\n", "seconds,val_accuracy\n1,inf\n", "a,b\n1,2,3\n"]
)
def test_a_damaged_history_is_one_line(tmp_path, capsys, text):
    file = tmp_path / "history.csv"
    file.write_text(text)
    with pytest.raises(RefusedError, match=r"history\.csv is damaged: it has no rows of the numbers seconds, val_acc"):
        read_history(file, "seconds", "val_accuracy")
    file.write_text("seconds,val_accuracy\n1,0.5\n")
    (tmp_path / "run.json").write_text(DEEP)
    with pytest.raises(SystemExit):
        minutes.read_run(tmp_path)
    assert f"{tmp_path} is no finished run: {tmp_path / 'run.json'} is damaged" in capsys.readouterr().err


# What is no file
@pytest.fixture(scope="module")
def resnet():
    return load_script("4.ResNet/resnet.py")


def test_a_pipe_is_waited_for_nowhere(tmp_path, resnet):
    """Each of these would wait for ever."""
    for name in ("run.json", "history.csv", "ensemble.json", "images.npz", "a.png", "predictions.npz"):
        os.mkfifo(tmp_path / name)
    for read in (
        lambda: read_run(tmp_path / "model.h5"),
        lambda: read_history(tmp_path / "history.csv", "seconds"),
        lambda: export.read_record(tmp_path / "ensemble.json", None),
        lambda: result_records.read_record(tmp_path / "run.json"),
        lambda: kept_predictions(tmp_path / "model.h5", "a", None, None),
    ):
        with pytest.raises(RefusedError, match="is a pipe; give a file"):
            read()
    with pytest.raises(ValueError, match=r"a\.png cannot be read as an image: .* is a pipe"):
        read_image(tmp_path / "a.png")
    with pytest.raises(resnet.InputError, match="cannot be loaded"):
        resnet.load_data(str(tmp_path / "images.npz"), 10)
    (tmp_path / "m.h5.predictions.npz").symlink_to(tmp_path / "images.npz")
    assert kept_form(tmp_path / "m.h5", "a") is None
    assert data.original_size(str(tmp_path / "images.npz")) is None
    assert data.class_names(str(tmp_path / "images.npz"), 2) == ["0", "1"]
    for path, words in ((tmp_path, "is a folder"), ("/dev/null", "is a device"), (tmp_path / "x", "No such file")):
        with pytest.raises(RefusedError, match=words):
            checks.check_file(path)


def test_a_pipe_among_images_is_refused(tmp_path):
    transfer = load_script("transfer/transfer.py")
    for name in ("train", "test"):
        for label in "ab":
            (tmp_path / name / label).mkdir(parents=True)
            os.mkfifo(tmp_path / name / label / "0.png")
    with pytest.raises(transfer.InputError, match=r"a/0\.png is no file; remove it"):
        transfer.load_folder(tmp_path, 10, 32)
    transfer.WEIGHTS = str(tmp_path / "train/a/0.png")
    with pytest.raises(transfer.InputError, match="there is no such file"):
        transfer.network_by_name()


# What is enormous
@pytest.fixture
def little_memory(monkeypatch):
    """10 MB are free, and there are no more."""
    sysconf = os.sysconf
    pages = {"SC_PAGE_SIZE": 1000, "SC_PHYS_PAGES": 10_000}
    monkeypatch.setattr(os, "sysconf", lambda name: pages.get(name) or sysconf(name))
    monkeypatch.setattr(checks.psutil, "virtual_memory", lambda: argparse.Namespace(available=10_000_000))


def test_what_unpacks_to_more_than_the_memory_is_refused(tmp_path, little_memory, resnet):
    file = tmp_path / "images.npz"
    x = np.zeros((5000, 32, 32, 3), np.uint8)
    np.savez_compressed(file, x_train=x, y_train=np.arange(5000) % 2, x_test=x[:10], y_test=np.arange(10) % 2)
    assert file.stat().st_size < 100_000
    with pytest.raises(RefusedError, match=r"images\.npz would take 0\.0 GiB of memory"), checks.open_npz(file):
        pass
    with pytest.raises(
        resnet.InputError, match=r"unpacked it has 15,\d+,\d+ bytes, too many for this computer's memory"
    ):
        resnet.load_data(str(file), 10)
    np.savez_compressed(file, x_train=x[:1000], y_train=np.arange(1000) % 2, x_test=x[:10], y_test=np.arange(10) % 2)
    assert len(resnet.load_data(str(file), 10)["train"][0]) == 990
    with checks.open_npz(file) as arrays:
        assert arrays["x_test"].shape == (10, 32, 32, 3)


def test_images_for_a_file_that_do_not_fit_are_refused_before_it_is_made(tmp_path, little_memory):
    image = ROOT / "results/minutes.png"
    with pytest.raises(RefusedError, match="2 images of 2000x2000 pixels would take"):
        images_to_npz.read_images([image, image], 2000, "crop")
    assert images_to_npz.read_images([image, image], 32, "crop").shape == (2, 32, 32, 3)


def test_a_file_of_json_has_some_megabytes_at_most(tmp_path):
    file = tmp_path / "run.json"
    with file.open("wb") as sparse:
        sparse.truncate(MOST_BYTES + 1)
    with pytest.raises(RefusedError, match="such a file has at most 67,108,864"):
        read_run(file)


def test_a_name_of_a_class_is_no_book(tmp_path):
    file = tmp_path / "images.npz"
    np.savez(file, class_names=["cat", "d" * 255])
    assert data.class_names(str(file), 2) == ["cat", "d" * 255]
    np.savez(file, class_names=["cat", "d" * 10**6])
    with pytest.raises(RefusedError, match="has a class name of 1,000,000 letters; give it shorter names"):
        data.class_names(str(file), 2)


@pytest.mark.parametrize("size", [32, None])
def test_a_model_that_enlarges_images_gets_fewer_at_a_time(size, monkeypatch):
    from keras import Input, Model, Sequential, layers

    pixels = Input((size, size, 3))
    wide = Model(pixels, layers.GlobalAveragePooling2D()(layers.UpSampling2D(60)(pixels)))
    small = Sequential([Input((size, size, 3)), layers.Conv2D(4, 3), layers.GlobalAveragePooling2D()])
    assert predicting.batch_for(small, "s.h5", (32, 32), Form()) == 250
    assert predicting.batch_for(wide, "w.h5", (32, 32), Form()) == 2**29 // (4 * 3 * 1920**2) == 12
    around = Sequential([Input((32, 32, 3)), wide])
    if size:
        assert predicting.batch_for(around, "a.h5", (32, 32), Form()) == 12
    free = argparse.Namespace(available=100_000_000)
    monkeypatch.setattr(checks.psutil, "virtual_memory", lambda: free)
    with pytest.raises(RefusedError, match=r"one image in w\.h5 would take 0\.1 GiB of memory; 0\.1 are free"):
        predicting.batch_for(wide, "w.h5", (32, 32), Form())
    assert predicting.batch_for(small, "s.h5", (32, 32), Form()) == 250
