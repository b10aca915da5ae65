"""What the tests share: running a script as its user would, and reading what it wrote."""

import importlib.util
import multiprocessing
import os
import runpy
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from PIL import Image

os.environ.setdefault("KERAS_BACKEND", "tensorflow")  # as the scripts have it, like the next two
os.environ["TF_ENABLE_ONEDNN_OPTS"] = "1"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import keras

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # where the packages stand

from ensemble.common.scripts import ROOT, training_scripts

SCRIPTS = [str(path.relative_to(ROOT)) for path in training_scripts()]
assert SCRIPTS == [  # a script that is not found is not tested
    "1.LeNet/lenet.py",
    "2.NIN/nin.py",
    "3.VGG/vgg.py",
    "4.ResNet/resnet.py",
    "5.WideResNet/wide_resnet.py",
    "6.ResNeXt/resnext.py",
    "7.DenseNet/densenet.py",
    "8.SENet/senet.py",
    "9.AlexNet/alexnet.py",
    "10.Inception/inception.py",
]


AT_START = {}  # the environment
PRELOADED = ("tensorflow", "keras", "pandas", "h5py", "matplotlib.figure", "scipy.optimize", "sklearn.datasets")
FORKSERVER = multiprocessing.get_context("forkserver")
FORKSERVER.set_forkserver_preload(list(PRELOADED))  # once, instead of ten seconds in every run of a script


def pytest_collection_finish():
    """Keep the environment as it is when all files of tests are imported, which may set some of it."""
    AT_START.update(os.environ)


def as_main(command, cwd, files):
    """Be, in a new process, what `python command` would be in the folder cwd, with stdout and stderr to files."""
    for number, file in enumerate(files, start=1):
        os.dup2(os.open(file, os.O_WRONLY), number)
    os.chdir(cwd)
    tests = str(ROOT / "tests")  # last, for programs that import conftest
    others = [place for place in sys.path if place not in ("", str(ROOT), tests)]
    sys.argv, sys.path[:] = command, [str(Path(command[0]).parent), *others, tests]
    runpy.run_path(command[0], run_name="__main__")


def run_script(script, *arguments, cwd, status=0):
    """Run a script of the repository (or any path) in the folder cwd; fail unless it exits with `status`.

    It is a process of its own: a fork of one that has loaded Keras on TensorFlow, and nothing else; or, where a test
    has changed the environment, a fresh interpreter.
    """
    command = [str(ROOT / script), *map(str, arguments)]
    changed = {name for name, _ in os.environ.items() ^ AT_START.items()} - {"PYTEST_CURRENT_TEST"}
    if changed or not Path(command[0]).is_file():
        done = subprocess.run(
            [sys.executable, *command], cwd=cwd, capture_output=True, text=True, timeout=300, check=False
        )
    else:
        with tempfile.TemporaryDirectory() as folder:
            files = [Path(folder) / name for name in ("stdout", "stderr")]
            for file in files:
                file.touch()
            process = FORKSERVER.Process(target=as_main, args=(command, cwd, files))
            process.start()
            process.join(300)
            if process.is_alive():
                process.kill()
            process.join()
            done = subprocess.CompletedProcess(command, process.exitcode, *(file.read_text() for file in files))
    assert done.returncode == status, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done


def load_script(script, **settings):
    """Import a script of the repository afresh, with settings other than its own."""
    spec = importlib.util.spec_from_file_location(Path(script).stem, ROOT / script)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for name, value in settings.items():
        assert hasattr(module, name), f"{script} has no setting {name}"
        setattr(module, name, value)
    return module


def write_small_script(path, dropout=0.0):
    """Write 4.ResNet/resnet.py to `path` with a network in place of its own that compiles in a second; for tests of the
    block that all scripts share."""
    text = (ROOT / "4.ResNet/resnet.py").read_text()
    before, network = text.split("# Network\n")
    small = f"""# Network
def build_model(shape, classes, mean, variance):
    inputs = keras.Input(shape)
    x = layers.Normalization(mean=mean, variance=variance, dtype="float32")(inputs)
    x = layers.Conv2D(8, 4, 4, use_bias=False, kernel_regularizer=keras.regularizers.L2(WEIGHT_DECAY / 2))(x)
    x = layers.Dropout({dropout})(layers.ReLU()(layers.BatchNormalization(momentum=0.9)(x)))
    outputs = layers.Dense(classes, activation="softmax", dtype="float32")(layers.Flatten()(x))
    return keras.Model(inputs, outputs)


"""
    line = "# From here on as in 4.ResNet/resnet.py"
    path.write_text(before + small + line + network.split(line)[1])
    return path


def as_files(images, folder):
    """Save uint8 images, (height, width, 3), in a folder without loss; return the paths."""
    files = [Path(folder) / f"image-{number}.png" for number in range(len(images))]
    for file, image in zip(files, images, strict=True):
        Image.fromarray(image).save(file)
    return files


@pytest.fixture(autouse=True)
def seeded():
    """The same first weights in every run: with some, a block's few rectified units are all zero for every image."""
    keras.utils.set_random_seed(0)


@pytest.fixture
def run(tmp_path):
    """`run(script, *arguments, status=0)`: run_script in a fresh folder."""

    def in_fresh_folder(script, *arguments, cwd=tmp_path, status=0):
        return run_script(script, *arguments, cwd=cwd, status=status)

    return in_fresh_folder


@pytest.fixture
def refused(run):
    """Run a script that must refuse: exit status 2, one line on stderr; return that line."""

    def one_line(script, *arguments, **options):
        done = run(script, *arguments, status=2, **options)
        assert "Traceback" not in done.stderr
        lines = done.stderr.strip().splitlines()
        assert len(lines) == 1, done.stderr
        return lines[0]

    return one_line


@pytest.fixture
def no_keras(tmp_path, monkeypatch):
    """Makes every import of TensorFlow or Keras fail in the scripts that the test runs."""
    folder = tmp_path / "no_keras"
    folder.mkdir()
    for name in ("tensorflow", "keras"):
        (folder / f"{name}.py").write_text("raise ImportError('imported')\n")
    monkeypatch.setenv("PYTHONPATH", str(folder))
