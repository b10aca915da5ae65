"""A training script for htd/ that trains nothing: it writes what a run leaves in a moment, without Keras."""

SCRIPT = '''"""A script with all that htd/ asks of one."""
import csv, json, os, sys
from pathlib import Path

BACKEND = "tensorflow"
# Settings
DATA = "digits"  # the data
EPOCHS = 2  # the epochs
BATCH_SIZE = 10  # the batch
LEARNING_RATE = 0.1  # the rate
SCHEDULE = "step"  # how the rate falls, one of step, cosine, tanh, plateau
TANH_FROM = -6.0  # L
TANH_TO = 3.0  # U
SEED = 0  # the seed
RUN = ""  # the run

# Network
def build_model(shape, classes, mean, variance):
    """No network."""


class InputError(Exception):
    """Bad input."""


def load_data(data, hold_out):
    """No data."""


def learning_rate(epoch):
    return LEARNING_RATE * (1 - epoch / EPOCHS)


def train(settings, folder):
    folder.mkdir(parents=True, exist_ok=True)
    scores = {"accuracy": 0.5 + SEED / 10, "loss": 1.0}
    with (folder / "history.csv").open("w") as file:
        names = "epoch,loss,val_accuracy,learning_rate,seconds".split(",")
        rows = [[1, 1.0, 0.4, 0.1, 1.0], [2, 0.9, 0.5, 0.05, 1.0]]
        csv.writer(file).writerows([names, *rows])
    script = f"{Path(__file__).resolve().parent.name}/fake.py"
    record = {"script": script, "script_sha256": "ab", "git_commit": None, "command": "python fake.py"}
    record |= {"settings": settings, "precision": "float32", "backend": BACKEND, "device": "a CPU", "parameters": 10}
    record |= {"versions": {}, "date": "2026-11-26T20:25:41+00:00", "model": f"{SCHEDULE}{SEED}", "classes": 10}
    record |= {"images": {"train": 100, "validation": 20, "test": 20}, "split": "00", "seconds": 2.0}
    record |= {"images_per_second": 100.0, "train": scores, "validation": scores, "test": scores}
    (folder / "unfinished.json").write_text(json.dumps(record))
    (folder / "unfinished.json").replace(folder / "run.json")
    print("done")


def read_settings(arguments):
    names = [name for name in globals() if name.isupper() and name not in ("BACKEND",)]
    settings = {name: globals()[name] for name in names}
    texts = [part for argument in arguments for part in argument.split("=", 1)]
    for option, text in zip(texts[::2], texts[1::2]):
        name = option[2:].upper().replace("-", "_")
        if name not in settings:
            raise InputError(f"{option} is no setting")
        settings[name] = type(settings[name])(text)
    globals().update(settings)
    return settings, Path("runs") / (RUN or "fake")


if __name__ == "__main__":
    try:
        train(*read_settings(sys.argv[1:]))
    except (InputError, OSError) as error:
        print(error, file=sys.stderr)
        sys.exit(2)
'''

COMPARE = ("htd/compare.py", "--script", "fake.py", "--schedules", "step,cosine", "--seeds", "2")
GRID = ("htd/grid.py", "--script", "fake.py", "--tanh-from=-6,-4", "--tanh-to=2,3", "--seeds", "1")


def fake_script(folder):
    (folder / "fake.py").write_text(SCRIPT, encoding="utf-8")
