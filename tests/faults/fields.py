"""Kind 5, fields nobody checked: in JSON, in .npz files and on the command line."""

import numpy as np

from faults.harness import Case
from faults.material import (
    LENET,
    Raw,
    members,
    photo,
    together,
    trained,
    trained_record,
    with_data,
    with_file,
    with_predictions,
    with_record,
    with_run,
    with_seconds,
    write,
)
from faults.races import COMPARE, LENET_RUN, MEAN, MINUTES, PREDICT, VOTE

HUGE, DIGITS = Raw("1e400"), Raw("9" * 400)
NAN, INFINITY = Raw("NaN"), Raw("Infinity")


def case(name, command, setup=lambda folder: None, quick=False, **options):
    return Case(5, name, command, setup, quick=quick, **options)


def shown(value):
    text = repr(value) if type(value) is str else str(value)
    return text if len(text) < 20 else f"of {len(text)} letters"


# run.json
WRONG = {  # field: values that no run has
    "settings__DATA": (["digits"], 7, None, {}, True, ""),
    "settings__HOLD_OUT": ("5000", [5000], NAN, HUGE, -1, 1.5, None, True, DIGITS),
    "parameters": ("62006", [62006], DIGITS, NAN, -1, 1.5, True, {}, HUGE),
    "settings": ([], "DATA", None, 7, [["DATA"]]),
    "model": (None, 7, ["x"], {}),
}
QUICK = (["digits"], NAN)
RUN_JSON = [
    *(
        case(
            f"run.json, {field.replace('__', '.')} {shown(value)}, voting.py",
            *(VOTE, with_run(**{field: value})),
            any(value is other or (value == other and type(value) is type(other)) for other in QUICK),
            says=("run.json",),
        )
        for field, values in WRONG.items()
        for value in values
    ),
    *(
        case(
            f"run.json, {field.replace('__', '.')} {shown(value)}, {command[0]}",
            command,
            with_run(**{field: value}),
            says=("run.json",),
        )
        for command in (MEAN, COMPARE)
        for field, value in (
            ("settings__DATA", ["digits"]),
            ("settings__HOLD_OUT", HUGE),
            ("parameters", DIGITS),
            ("settings", "x"),
        )
    ),
    *(
        case(f"run.json {name}, {command[0]}", command, with_file("runs/a/run.json", content), says=("run",))
        for command in (VOTE, MINUTES)
        for name, content in {
            "a list": [],
            "a number": "7",
            "null": "null",
            "a text": '"x"',
            "without fields": {},
            "of two objects": "{} {}",
            "with NULs": b"\0" * 100,
            "cut": '{"model": "x", "sett',
        }.items()
    ),
    case("run.json, accuracy NaN, minutes.py", MINUTES, with_run(test__accuracy=NAN), says=("run",)),
    case("run.json, accuracy a text, minutes.py", MINUTES, with_run(test__accuracy="0.5"), says=("run",)),
    case("run.json, accuracy a list, minutes.py", MINUTES, with_run(validation__accuracy=[1]), says=("run",)),
    case("run.json, accuracy 1e400, minutes.py", MINUTES, with_run(validation__accuracy=HUGE), says=("run",)),
    case("run.json, device a list, minutes.py", MINUTES, with_run(device=["x"]), says=("run",)),
    *(
        case(
            f"history.csv {name}, minutes.py", MINUTES, with_file("runs/a/history.csv", content), says=("run|history",)
        )
        for name, content in {
            "empty": "",
            "of a head alone": "epoch,val_accuracy,seconds\n",
            "of texts": "epoch,val_accuracy,seconds\n1,x,y\n",
            "without seconds": "epoch,val_accuracy\n1,0.5\n",
            "of NaN": "epoch,val_accuracy,seconds\n1,nan,nan\n",
            "of infinity": "epoch,val_accuracy,seconds\n1,inf,1e400\n",
            "of bytes": b"\xff\xfe\0\0",
        }.items()
    ),
    *(
        case(
            f"run.json, {field.replace('__', '.')} {shown(value)}, results.py --add",
            ("tools/results.py", ".", "--add", "runs/a/run.json", "--name", "x"),
            with_run(**{field: value}),
            says=("run.json",),
        )
        for field, value in (
            ("seconds", HUGE),
            ("seconds", NAN),
            ("test__accuracy", INFINITY),
            ("parameters", DIGITS),
            ("settings", []),
            ("settings__DATA", ["x"]),
            ("data_name", ["x"]),
            ("test", 7),
            ("train__loss", NAN),
        )
    ),
]


# predictions.npz
def set_to(**arrays):
    return lambda kept: kept.update(arrays)


RANDOM = np.random.default_rng(0)
PROBABILITIES = np.full((30, 4), 0.25, np.float32)
LABELS = np.arange(30) % 4
ARRAYS = {
    "three dimensions": set_to(test_probabilities=np.full((30, 4, 2), 0.25, np.float32)),
    "three dimensions in both": set_to(
        test_probabilities=np.full((30, 4, 1), 0.25), validation_probabilities=np.full((20, 4, 1), 0.25)
    ),
    "one dimension": set_to(test_probabilities=np.full(30, 0.25)),
    "no dimension": set_to(test_probabilities=np.float32(0.5)),
    "complex numbers": set_to(test_probabilities=PROBABILITIES.astype(complex)),
    "texts": set_to(test_probabilities=PROBABILITIES.astype(str)),
    "dates": set_to(test_probabilities=np.zeros((30, 4), "datetime64[s]")),
    "truth values": set_to(test_probabilities=np.eye(4, dtype=bool)[LABELS]),
    "objects": set_to(test_probabilities=np.full((30, 4), None)),
    "fields": set_to(test_probabilities=np.zeros((30, 4), [("x", "f4")])),
    "NaN": set_to(test_probabilities=np.where(PROBABILITIES > 0, np.nan, 0)),
    "infinity": set_to(validation_probabilities=np.full((20, 4), np.inf)),
    "no images": set_to(test_probabilities=np.zeros((0, 4)), test_labels=np.zeros(0, int)),
    "no classes": set_to(test_probabilities=np.zeros((30, 0))),
    "other counts of classes": set_to(test_probabilities=np.full((30, 5), 0.2, np.float32)),
    "float labels": set_to(test_labels=LABELS.astype(float)),
    "labels of 0.5": set_to(test_labels=LABELS / 2),
    "text labels": set_to(test_labels=LABELS.astype(str)),
    "complex labels": set_to(test_labels=LABELS.astype(complex)),
    "true labels": set_to(test_labels=LABELS > 1),
    "dates as labels": set_to(test_labels=LABELS.astype("datetime64[D]")),
    "labels beyond": set_to(test_labels=LABELS + 1),
    "labels below": set_to(test_labels=LABELS - 1),
    "labels of 2**63": set_to(test_labels=(LABELS.astype(np.uint64) + 2**63)),
    "labels in columns": set_to(test_labels=LABELS[:, np.newaxis]),
    "no labels": lambda kept: kept.pop("test_labels"),
    "no model": lambda kept: kept.pop("model"),
    "lists for texts": set_to(split=np.array(["a", "b"])),
}
QUICK_ARRAYS = ("three dimensions", "complex numbers")
PREDICTIONS = [
    *(
        case(
            f"predictions.npz with {name}, voting.py",
            VOTE,
            with_predictions(change),
            name in QUICK_ARRAYS,
            says=("predictions.npz|runs/a",),
        )
        for name, change in ARRAYS.items()
    ),
    *(
        case(
            f"predictions.npz with {name}, {command[0]}",
            command,
            with_predictions(ARRAYS[name]),
            says=("predictions.npz|runs/a",),
        )
        for command in (MEAN, COMPARE)
        for name in ("three dimensions", "complex numbers", "text labels", "float labels")
    ),
    *(
        case(
            f"predictions.npz {name}, voting.py",
            VOTE,
            with_file("runs/a/predictions.npz", content),
            says=("predictions.npz",),
        )
        for name, content in {"of text": "x", "empty": b"", "of a zip's first bytes": b"PK\x03\x04" + bytes(50)}.items()
    ),
]

# seconds.json, compare.py
SECONDS = [
    case(
        f"seconds.json, seconds {shown(value)}, compare.py",
        COMPARE,
        with_seconds(value),
        status=(0, 2),
        changes=("runs/a/*.seconds.json",),
        leaves=(),
    )
    for value in (INFINITY, HUGE, "1", [1.0], DIGITS)
]


# Records, export.py
def members_set(**fields):
    return lambda record: record["members"][0].update(fields)


def methods_set(name, **fields):
    return lambda record: record["methods"][name].update(fields)


def record_set(**fields):
    return lambda record: record.update(fields)


E = ("ensemble/export.py", "ensemble.json", "--out", "e.keras", "--method")
RECORDS = {  # name: (method, change)
    "no members": ("likelihood", record_set(members=[])),
    "no members, soft voting": ("soft voting", record_set(members=[])),
    "members a text": ("soft voting", record_set(members="ab")),
    "members of texts": ("soft voting", record_set(members=["a", "b"])),
    "members a dictionary": ("soft voting", record_set(members={"a": 1})),
    "one member of two": ("likelihood", lambda record: record["members"].pop()),
    "no methods": ("soft voting", record_set(methods={})),
    "methods a list": ("soft voting", record_set(methods=[])),
    "methods of null": ("soft voting", record_set(methods={"soft voting": None})),
    "a path that is a list": ("soft voting", members_set(path=["runs/a/model.h5"])),
    "a path that is a number": ("soft voting", members_set(path=7)),
    "a path with a NUL": ("soft voting", members_set(path="runs/\0/model.h5")),
    "a path of 5,000 letters": ("soft voting", members_set(path="a" * 5000)),
    "a model that is a number": ("soft voting", members_set(model=7)),
    "data a list": ("soft voting", record_set(data=["digits"])),
    "data a number": ("soft voting", record_set(data=7)),
    "data null": ("soft voting", record_set(data=None)),
    "no validation": ("soft voting", methods_set("soft voting", validation=None)),
    **{
        f"temperature {shown(value)}": ("soft voting", methods_set("soft voting", temperature=value))
        for value in (0, "1", -1, NAN, HUGE, [1.0], True, DIGITS, {})
    },
    **{
        f"weights {shown(value)}": ("likelihood", methods_set("likelihood", weights=value))
        for value in (
            [NAN, 1.0],
            [-0.5, 1.5],
            [0, 0],
            ["a", "b"],
            [HUGE, 1.0],
            [0.5],
            [0.5, 0.5, 0.5],
            [],
            "ab",
            0.5,
            [[0.5], [0.5]],
            [True, False],
            None,
            [DIGITS, 1],
            [1e308, 1e308],
        )
    },
    **{
        f"tempered weights {shown(value)}": (
            "likelihood, tempered",
            methods_set("likelihood, tempered", tempered_weights=value),
        )
        for value in ([NAN, 1.0], [-1, 2], [0, 0])
    },
    **{
        f"temperatures {shown(value)}": (
            "likelihood, tempered",
            methods_set("likelihood, tempered", temperatures=value),
        )
        for value in ([0, 1.0], [-1, 1.0], [NAN, 1.0], ["x", 1.0], [1.0], [HUGE, 1.0])
    },
    **{
        f"kernel {name}": ("stacking", methods_set("stacking", kernel=value))
        for name, value in {
            "empty": [],
            "of text": "x",
            "of NaN": [[NAN] * 4] * 8,
            "too small": [[1.0] * 4] * 4,
            "ragged": [[1.0], [1.0, 2.0]],
        }.items()
    },
    **{f"bias {shown(value)}": ("stacking", methods_set("stacking", bias=value)) for value in ([NAN] * 4, [1.0], "x")},
}
QUICK_RECORDS = ("no members", "temperature '1'", "weights [-0.5, 1.5]")
FORMS = {
    "scale a text": {"scale": "1/255"},
    "scale NaN": {"scale": NAN},
    "scale a list": {"scale": [1, 2]},
    "mean a text": {"mean": "0"},
    "std 0": {"std": [0, 0, 0]},
    "an order of one class twice": {"class_order": [0] * 10},
    "an order of texts": {"class_order": ["a"] * 10},
    "an unknown field": {"nothing": 1},
    "unknown outputs": {"outputs": "x"},
    "an unknown resize": {"resize": "x"},
    "channels a number": {"channels": 7},
    "size 10**9": {"size": [10**9, 10**9]},
    "size a text": {"size": "32"},
}
T = ("ensemble/export.py", "compare/ensemble.json", "--out", "e.keras", "--method")
EXPORTS = [
    *(
        case(
            f"ensemble.json, {name}, export.py",
            (*E, method),
            with_record(change),
            name in QUICK_RECORDS,
            says=("ensemble.json|runs/a|aaaa" if "path" in name or "model" in name else "ensemble.json",),
        )
        for name, (method, change) in RECORDS.items()
    ),
    *(
        case(
            f"ensemble.json, a member's form {name}, export.py",
            (*T, "soft voting"),
            trained_record(members_set(form=form)),
            says=("ensemble.json|runs/a|form",),
        )
        for name, form in FORMS.items()
    ),
    *(
        case(
            f"ensemble.json of real models, temperature {shown(value)}, export.py",
            (*T, "soft voting"),
            trained_record(methods_set("soft voting", temperature=value)),
            says=("ensemble.json|temperature",),
        )
        for value in (0, "1", -1, NAN)
    ),
    *(
        case(
            f"ensemble.json of real models, weights {value}, export.py",
            (*T, "likelihood"),
            trained_record(methods_set("likelihood", weights=value)),
            says=("ensemble.json|weight",),
        )
        for value in ([NAN, 1.0], [-0.5, 1.5], [0, 0], ["a", "b"])
    ),
    case(
        "ensemble.json of real models, no members, export.py",
        (*T, "soft voting"),
        trained_record(record_set(members=[])),
        says=("ensemble.json|members",),
    ),
    *(
        case(
            f"ensemble.json {name}, export.py",
            (*E, "soft voting"),
            with_file("ensemble.json", content),
            says=("ensemble.json",),
        )
        for name, content in {"a list": [], "a number": "7", "empty": "", "null": "null"}.items()
    ),
    *(
        case(f"ensemble.json {name} in voting.py's --out", VOTE, with_file("v/ensemble.json", content), says=("v",))
        for name, content in {
            "a list": [],
            "a number": "7",
            "empty": "",
            "members of numbers": {"script": "ensemble/voting.py", "split": "x", "members": [1]},
        }.items()
    ),
    *(
        case(
            f"a record {name}, results.py",
            ("tools/results.py", "."),
            write("results/x.json", content),
            says=("x.json",),
        )
        for name, content in {
            "a list": [],
            "methods a list": {"methods": []},
            "grid null": {"grid": None},
            "settings NaN": '{"settings": NaN}',
            "schedules a text": {"schedules": "x"},
        }.items()
    ),
]

# Weights, predict.py
WEIGHTS = [
    case(
        f"--weights {shown(value)}, predict.py",
        (*PREDICT, f"--weights={value}"),
        together(members, photo),
        says=("weights",),
    )
    for value in ("nan,1", "inf,1", "-1,2", "0,0", "1e400,1", "x,y", "1", "1,1,1", ",", "1e308,1e308")
]

# backup.npz
BACKUPS = [
    case(f"backup.npz {name}, lenet.py", LENET_RUN, write("runs/r/backup.npz", content), says=("backup.npz",))
    for name, content in {"of text": "x", "empty": b"", "of a zip's first bytes": b"PK\x03\x04" + bytes(50)}.items()
]


# Data
def missing(name):
    return lambda arrays: arrays.pop(name)


DATA = {
    "x_test of 31x32": set_to(x_test=np.zeros((20, 31, 32, 3), np.uint8)),
    "x_train of 31x32, x_test of 32x31": set_to(
        x_train=np.zeros((40, 31, 32, 3), np.uint8), x_test=np.zeros((20, 32, 31, 3), np.uint8)
    ),
    "x_test of 30x30, x_train of 28x28": set_to(
        x_train=np.zeros((40, 28, 28, 3), np.uint8), x_test=np.zeros((20, 30, 30, 3), np.uint8)
    ),
    "grey x_test": set_to(x_test=np.zeros((20, 32, 32), np.uint8)),
    "float images": set_to(x_train=np.zeros((40, 32, 32, 3))),
    "objects": set_to(x_train=np.full((40, 32, 32, 3), None)),
    "2 channels": set_to(x_train=np.zeros((40, 32, 32, 2), np.uint8), x_test=np.zeros((20, 32, 32, 2), np.uint8)),
    "no dimension": set_to(x_train=np.uint8(0)),
    "images of 0x0": set_to(x_train=np.zeros((40, 0, 0, 3), np.uint8), x_test=np.zeros((20, 0, 0, 3), np.uint8)),
    "no images": set_to(x_train=np.zeros((0, 32, 32, 3), np.uint8), y_train=np.zeros(0, int)),
    "float labels": set_to(y_train=np.arange(40) % 4 / 1.0),
    "text labels": set_to(y_train=(np.arange(40) % 4).astype(str)),
    "complex labels": set_to(y_train=(np.arange(40) % 4).astype(complex)),
    "labels of objects": set_to(y_train=np.array([0, "a", None, 3] * 10, dtype=object)),
    "labels from 2**63": set_to(y_train=(np.arange(40) % 4).astype(np.uint64) + 2**63),
    "a class of test images alone": set_to(y_test=np.arange(20) % 5),
    "labels in rows": set_to(y_train=np.zeros((1, 40), int)),
    "no y_test": missing("y_test"),
}
DATA_CASES = [
    *(
        case(
            f"data with {name}, lenet.py",
            (LENET[0], "--data", "data.npz", "--epochs", "1", "--batch-size", "8"),
            with_data(change),
            says=("data.npz",),
        )
        for name, change in DATA.items()
    ),
    case(
        "data with x_test of 31x32, transfer.py",
        ("transfer/transfer.py", "--data", "data.npz", "--weights", "none"),
        with_data(DATA["x_test of 31x32"]),
        says=("data.npz",),
    ),
    case(
        "data with x_test of 31x32, voting.py",
        ("ensemble/voting.py", "runs/a/model.h5", "runs/b/model.h5", "--out", "v", "--data", "data.npz"),
        together(trained, with_data(DATA["x_test of 31x32"])),
        says=("data.npz",),
    ),
    *(
        case(
            f"data, {name}, lenet.py", (LENET[0], "--data", "data.npz"), write("data.npz", content), says=("data.npz",)
        )
        for name, content in {"of text": "x", "empty": b"", "a pickle": b"\x80\x04cos\nsystem\n"}.items()
    ),
    case(
        "data that is a folder, lenet.py",
        (LENET[0], "--data", "folder"),
        lambda folder: (folder / "folder").mkdir(),
        says=("folder",),
    ),
    case(
        "data that is a link to itself, lenet.py",
        (LENET[0], "--data", "data.npz"),
        lambda folder: (folder / "data.npz").symlink_to("data.npz"),
        says=("data.npz",),
    ),
]

CASES = [*RUN_JSON, *PREDICTIONS, *SECONDS, *EXPORTS, *WEIGHTS, *BACKUPS, *DATA_CASES]
