"""Kind 3, what a handler misses: errors of kinds that nobody expected, and settings beyond all measure."""

from faults.harness import GIGABYTE, Case, on_read_only_disk, on_small_disk
from faults.htd_script import COMPARE as HTD_COMPARE
from faults.htd_script import GRID, SCRIPT, fake_script
from faults.material import (
    DEEP,
    LENET,
    directory,
    member,
    members,
    photo,
    photos,
    together,
    trained,
    with_file,
    with_record,
    with_seconds,
    with_trained,
    write,
)
from faults.races import COMPARE, EXPORT, IMAGES, LENET_RUN, MEAN, MINUTES, PREDICT, VOTE

LONG = "a" * 300
FITS = "a" * 245  # a file's name may have 255 bytes, but not "unfinished-" before it and a suffix behind


def case(name, command, setup=lambda folder: None, quick=False, **options):
    return Case(3, name, command, setup, quick=quick, **options)


# JSON of 100,000 brackets
def deep(path, setup=members):
    return together(setup, write(path, DEEP))


def deep_in_model(folder):
    import h5py

    members(folder)
    with h5py.File(folder / "runs/a/model.h5", "w") as file:
        file.create_group("model_weights")
        file.attrs["model_config"] = f'{{"class_name": "Functional", "config": {"[" * 20_000}{"]" * 20_000}}}'
        file.attrs["keras_version"] = "3.15.1"
    (folder / "runs/a/run.json").unlink()
    (folder / "runs/a/predictions.npz").unlink()


DIGITS = ("--data", "digits")
RUN_JSON = "runs/a/run.json"
DEEP_JSON = [
    case("run.json of 100,000 brackets, voting.py", VOTE, deep(RUN_JSON), True, says=("run.json",)),
    case("run.json of 100,000 brackets, weighted_mean.py", MEAN, deep(RUN_JSON), says=("run.json",)),
    case("run.json of 100,000 brackets, compare.py", COMPARE, deep(RUN_JSON), says=("run.json",)),
    case(
        "run.json of 100,000 brackets, predict.py",
        *(PREDICT, with_trained(together(photo, write(RUN_JSON, DEEP)))),
        says=("run.json",),
    ),
    case("run.json of 100,000 brackets, minutes.py", MINUTES, deep(RUN_JSON), says=("run|finished",)),
    case(
        "run.json of 100,000 brackets, results.py --add",
        *(("tools/results.py", ".", "--add", RUN_JSON, "--name", "x"), deep(RUN_JSON)),
        says=("run.json",),
    ),
    case(
        "a record of 100,000 brackets, results.py",
        ("tools/results.py", "."),
        deep("results/x.json"),
        True,
        says=("x.json",),
    ),
    case(
        "run.json of 100,000 brackets, htd/compare.py",
        HTD_COMPARE,
        together(fake_script, write("runs/fake-step-0/run.json", DEEP)),
        says=("run.json",),
    ),
    case(
        "run.json of 100,000 brackets, htd/grid.py",
        GRID,
        together(fake_script, write("runs/fake--6.0_2.0-0/run.json", DEEP)),
        status=(0, 2),
    ),
    case(
        "seconds.json of 100,000 brackets, compare.py",
        COMPARE,
        with_seconds(DEEP),
        status=(0, 2),
        changes=("runs/a/*.seconds.json",),
    ),
    case(
        "ensemble.json of 100,000 brackets, export.py",
        (*EXPORT[:1], "ensemble.json", "--out", "e.h5"),
        deep("ensemble.json"),
        True,
        says=("ensemble.json",),
    ),
    case(
        "ensemble.json of 100,000 brackets in voting.py's --out",
        VOTE,
        deep("v/ensemble.json"),
        says=("ensemble.json|v ",),
    ),
    case(
        "ensemble.json of 100,000 brackets in compare.py's --out",
        COMPARE,
        deep("v/ensemble.json", trained),
        says=("ensemble.json|v ",),
    ),
    case("a model's JSON of 20,000 brackets, voting.py", (*VOTE, *DIGITS), deep_in_model, says=("runs/a/model.h5",)),
    case(
        "backup.npz with JSON of 100,000 brackets, lenet.py",
        LENET_RUN,
        lambda folder: backup(folder, DEEP),
        says=("backup.npz",),
    ),
    case(
        "run.json of objects in objects, 100,000 deep, voting.py",
        VOTE,
        with_file(RUN_JSON, '{"a":' * 100_000 + "1" + "}" * 100_000),
        says=("run.json",),
    ),
    case(
        "run.json of a number of 10,000 digits, voting.py",
        VOTE,
        with_file(RUN_JSON, '{"model": "x", "settings": {}, "parameters": ' + "9" * 10_000 + "}"),
        says=("run.json",),
    ),
    case("run.json of no UTF-8, voting.py", VOTE, with_file(RUN_JSON, b"\xff\xfe{}"), says=("run.json",)),
    case("run.json that is empty, minutes.py", MINUTES, with_file(RUN_JSON, b""), says=("run|finished",)),
    case(
        "a record of no UTF-8, results.py",
        ("tools/results.py", "."),
        with_file("results/x.json", b"\xff\xfe{}"),
        says=("x.json",),
    ),
    case(
        "README.md of no UTF-8, results.py",
        ("tools/results.py", "."),
        write("README.md", b"\xff\xfe"),
        says=("README.md",),
    ),
]


def backup(folder, text):
    import numpy as np

    (folder / "runs/r").mkdir(parents=True)
    np.savez(folder / "runs/r/backup.npz", past=text)


# Names
SLOW = (LENET[0], "transfer/transfer.py", "ensemble/snapshot.py", "tools/multiply_adds.py")


def long_names(path):
    """Return cases of every command with a path in place of one of its own."""
    quick = ["voting.py --out", "results.py --add", "images_to_npz.py OUT"]
    text = "a name of 300 letters" if "/" not in path else "a path of 6,000 letters"
    words = {
        "voting.py MODEL": ("ensemble/voting.py", f"{path}.h5", "runs/b/model.h5"),
        "voting.py --out": (*VOTE[:-1], path),
        "voting.py --data": (*VOTE, "--data", f"{path}.npz"),
        "weighted_mean.py --out": (*MEAN[:-1], path),
        "compare.py --out": (*COMPARE[:-1], path),
        "compare.py MODEL": ("ensemble/compare.py", f"{path}.keras", "runs/b/model.h5"),
        "predict.py MODEL": ("ensemble/predict.py", f"{path}.h5", "--images", "photo.png"),
        "predict.py --images": ("ensemble/predict.py", "runs/a/model.h5", "--images", f"{path}.png"),
        "predict.py --out": ("ensemble/predict.py", "runs/a/model.h5", "--images", "photo.png", "--out", f"{path}.png"),
        "export.py RECORD": ("ensemble/export.py", path, "--out", "e.h5"),
        "export.py --out": ("ensemble/export.py", "ensemble.json", "--out", f"{path}.h5"),
        "images_to_npz.py FOLDER": ("tools/images_to_npz.py", path, "p.npz"),
        "images_to_npz.py OUT": ("tools/images_to_npz.py", "photos", f"{path}.npz"),
        "minutes.py FOLDER": ("tools/minutes.py", path, "--out", "m.png"),
        "minutes.py --out": ("tools/minutes.py", "runs/a", "--out", f"{path}.png"),
        "results.py FOLDER": ("tools/results.py", path),
        "results.py --add": ("tools/results.py", ".", "--add", path, "--name", "x"),
        "results.py --name": ("tools/results.py", ".", "--add", RUN_JSON, "--name", path),
        "copies.py FOLDER": ("tools/copies.py", path),
        "block_pictures.py FOLDER": ("tools/block_pictures.py", path),
        "htd/compare.py --script": ("htd/compare.py", "--script", f"{path}.py"),
        "htd/grid.py --script": ("htd/grid.py", "--script", f"{path}.py"),
        "htd/compare.py --run": (*HTD_COMPARE, "--run", path),
        "snapshot.py --architecture": ("ensemble/snapshot.py", "--architecture", path),
        "snapshot.py --run": ("ensemble/snapshot.py", "--data", "digits", "--architecture", "lenet", "--run", path),
        "lenet.py --data": (*LENET[:1], "--data", f"{path}.npz"),
        "lenet.py --run": (*LENET, "--run", path),
        "transfer.py --data": ("transfer/transfer.py", "--data", path),
        "transfer.py --base": ("transfer/transfer.py", "--data", "digits", "--base", f"{path}.h5"),
        "transfer.py --weights": ("transfer/transfer.py", "--data", "digits", "--weights", f"{path}.h5"),
        "multiply_adds.py FOLDER": ("tools/multiply_adds.py", path),
    }
    setup = together(with_record(lambda record: None), photo, photos, fake_script)
    return [
        case(f"{text}, {name}", command, setup, quick=name in quick and "/" not in path)
        for name, command in words.items()
        if "/" not in path or command[0] not in SLOW
    ]


def long_member(folder):
    (folder / "runs").mkdir()
    member(folder / "runs" / FITS, 0)
    member(folder / "runs" / "b", 1)


FITTING = [
    case("a name of 245 letters, voting.py --out", (*VOTE[:-1], FITS), members, status=(0, 2), says=("long|name",)),
    case(
        "a name of 245 letters, voting.py MODEL",
        ("ensemble/voting.py", f"runs/{FITS}/model.h5", *VOTE[2:]),
        long_member,
        status=(0, 2),
    ),
    case(
        "a name of 249 letters, images_to_npz.py OUT",
        ("tools/images_to_npz.py", "photos", f"{FITS}.npz"),
        photos,
        status=(0, 2),
    ),
    case(
        "a name of 249 letters, minutes.py --out",
        ("tools/minutes.py", "runs/a", "--out", f"{FITS}.png"),
        members,
        status=(0, 2),
    ),
    case("a name of 249 letters, predict.py --out", (*PREDICT[:-1], f"{FITS}.png"), with_trained(photo), status=(0, 2)),
    case(
        "a name of 249 letters, export.py --out",
        ("ensemble/export.py", "compare/ensemble.json", "--out", f"{FITS}.h5"),
        trained,
        status=(0, 2),
    ),
    case(
        "a class of 250 letters, images_to_npz.py",
        IMAGES,
        lambda folder: photos(folder, ("b" * 250, "c")),
        status=(0, 2),
    ),
    case("a name with line breaks, voting.py MODEL", ("ensemble/voting.py", "a\nb.h5", "c\nd.h5"), members),
    case("a name with line breaks, lenet.py --data", (LENET[0], "--data", "a\nb.npz")),
    case("a name with terminal codes, images_to_npz.py", ("tools/images_to_npz.py", "\x1b[31mred", "p.npz"), photos),
]


# Scripts for htd/
def scripts(name, content, quick=False, **options):
    return [
        case(
            f"{program} --script {name}",
            (program, "--script", "other.py"),
            write("other.py", content),
            quick and program == "htd/compare.py",
            **options,
        )
        for program in ("htd/compare.py", "htd/grid.py")
    ]


RATE = "\ndef learning_rate(epoch):\n    return 1\n"
SETTINGS = "\ndef read_settings(arguments):\n    return {}, None\n"
HTD_SCRIPTS = [
    *scripts(
        "with learning_rates only", "\ndef learning_rates(epoch):\n    return 1\n", says=("learning_rate|other.py",)
    ),
    *scripts("with learning_rate only", RATE, True, says=("read_settings|other.py",)),
    *scripts("with both, and read_settings of another kind", RATE + SETTINGS),
    *scripts("that names the functions in its docstring", f'"""{RATE}{SETTINGS}"""\n', says=("other.py",)),
    *scripts("with an error of syntax", RATE + SETTINGS + "\n(((\n", says=("other.py",)),
    *scripts("that divides by zero", RATE + SETTINGS + "\n1 / 0\n", says=("other.py",)),
    *scripts("that ends itself", RATE + SETTINGS + "\nimport sys\nsys.exit(0)\n", says=("other.py",)),
    *scripts("that raises a BaseException", RATE + SETTINGS + "\nraise BaseException('x')\n", says=("other.py",)),
    *scripts("that imports what is missing", "import nothing_of_the_kind\n" + SCRIPT, says=("nothing_of_the_kind",)),
    *scripts("of no UTF-8", RATE.encode() + SETTINGS.encode() + b"\n# \xff\n", says=("other.py",)),
    *scripts(
        "whose learning rate raises", SCRIPT.replace("return LEARNING_RATE *", "raise ValueError(0) #"), status=(0, 2)
    ),
    *scripts(
        "whose InputError is missing",
        SCRIPT.replace("class InputError(Exception)", "class Other(Exception)"),
        status=(0, 2),
    ),
    *scripts("whose run ends with status 3", SCRIPT.replace('    print("done")', "    sys.exit(3)"), lines=2),
    *scripts("whose run writes no record", SCRIPT.replace('.replace(folder / "run.json")', "")),
    *scripts("whose run writes another record", SCRIPT.replace("json.dumps(record)", '"[]"')),
    *scripts("whose run ends by a signal", SCRIPT.replace('    print("done")', "    os.kill(os.getpid(), 9)"), lines=1),
    case("htd/compare.py --script with a folder", ("htd/compare.py", "--script", "x"), directory("x")),
    case("htd/compare.py --schedules of none", ("htd/compare.py", "--data", "digits", "--schedules", "")),
    case(
        "htd/compare.py --schedules one twice", (*HTD_COMPARE, "--schedules", "step,step"), fake_script, status=(0, 2)
    ),
    case("htd/compare.py --seeds 10**12", (*HTD_COMPARE, "--seeds", "1" + "0" * 12), fake_script, seconds=20),
    case("htd/compare.py --seeds of 5,000 digits", (*HTD_COMPARE, "--seeds", "9" * 5000), fake_script),
    case(
        "htd/compare.py --parallel of 5,000 digits",
        (*HTD_COMPARE, "--parallel", "9" * 5000),
        fake_script,
        status=(0, 2),
    ),
    case("htd/compare.py --seeds ²", (*HTD_COMPARE, "--seeds", "²"), fake_script),
    *(
        case(f"htd/grid.py --tanh-from={value}", ("htd/grid.py", "--data", "digits", f"--tanh-from={value}"))
        for value in ("x", "", "nan", "1e400", "-6,,-4")
    ),
]


# Settings beyond all measure
def settings(script, names, values=("1" + "0" * 9, "9" * 30), status=(2,), **options):
    fixed = ("--data", "digits", "--epochs", "1", "--limit", "300", "--batch-size", "100")
    found = []
    for name in names:
        for value in values:
            option = "--" + name.lower().replace("_", "-")
            rest = [word for pair in zip(fixed[::2], fixed[1::2], strict=True) if pair[0] != option for word in pair]
            shown = value if len(value) < 12 else f"of {len(value):,} digits"
            found.append(case(f"{script} {option} {shown}", (script, *rest, option, value), status=status, **options))
    return found


ANY = (0, 2)  # such as a seed: no fault, if it ends


def too_large(script, names, values):
    return [found for name in names for found in settings(script, [name], values, says=(f"{name}|memory",))]


HUGE = [
    *settings("1.LeNet/lenet.py", ["EPOCHS"], ("999999999", "9" * 5000, "nan", "²"), says=("EPOCHS",)),
    *settings("1.LeNet/lenet.py", ["BATCH_SIZE"], ("999999999", "9" * 30, "0"), says=("BATCH_SIZE",)),
    *settings("1.LeNet/lenet.py", ["LIMIT", "HOLD_OUT", "WARMUP", "SEED"], ("999999999",), status=ANY),
    *settings("1.LeNet/lenet.py", ["LIMIT", "SEED", "PATIENCE"], ("9" * 30,), says=("whole number|is not",)),
    *settings(
        "1.LeNet/lenet.py",
        ["LEARNING_RATE", "TANH_FROM"],
        ("nan", "1e400"),
        says=("LEARNING_RATE|MOMENTUM|WEIGHT_DECAY|TANH_FROM",),
    ),
    *settings("1.LeNet/lenet.py", ["MILESTONES"], ("nan", "0.5," * 20_000 + "0.5"), status=ANY),
    *settings("1.LeNet/lenet.py", ["RUN"], ("..", "a/b", " "), says=("RUN",)),
    *too_large("2.NIN/nin.py", ["BATCH_SIZE", "EPOCHS"], ("999999999",)),
    *too_large("3.VGG/vgg.py", ["DEPTH", "BATCH_SIZE"], ("999999999",)),
    *too_large("4.ResNet/resnet.py", ["DEPTH"], ("1000000000", "60002", "9" * 30)),
    *too_large("5.WideResNet/wide_resnet.py", ["WIDTH"], ("1000000", "1000000000", "20000")),
    *too_large("5.WideResNet/wide_resnet.py", ["DEPTH"], ("1000000000", "60004")),
    *too_large("6.ResNeXt/resnext.py", ["CARDINALITY", "GROUP_WIDTH"], ("1000000", "1000000000")),
    *too_large("7.DenseNet/densenet.py", ["DEPTH"], ("1000000000", "60004")),
    *too_large("7.DenseNet/densenet.py", ["GROWTH_RATE"], ("1000000", "1000000000")),
    *too_large("8.SENet/senet.py", ["DEPTH", "CARDINALITY", "GROUP_WIDTH"], ("1000000000",)),
    *settings("8.SENet/senet.py", ["REDUCTION"], ("1000000000",), says=("REDUCTION",)),
    *too_large("9.AlexNet/alexnet.py", ["GROUPS", "BATCH_SIZE"], ("1000000000",)),
    *too_large("10.Inception/inception.py", ["BATCH_SIZE"], ("1000000000",)),
    *too_large("transfer/transfer.py", ["IMAGE_SIZE", "HEAD", "HEAD_EPOCHS"], ("1000000000",)),
    case(
        "ensemble/snapshot.py --cycles 1000000",
        ("ensemble/snapshot.py", *DIGITS, "--cycles", "1000000", "--epochs", "1000000"),
    ),
    case(
        "ensemble/snapshot.py --epochs 1000000000",
        ("ensemble/snapshot.py", *DIGITS, "--architecture", "lenet", "--epochs", "1000000000"),
        says=("EPOCHS",),
    ),
    case("ensemble/snapshot.py --epochs of 5,000 digits", ("ensemble/snapshot.py", "--epochs", "9" * 5000)),
    case(
        "ensemble/snapshot.py --learning-rate nan",
        ("ensemble/snapshot.py", "--learning-rate", "nan"),
        says=("LEARNING_RATE",),
    ),
    case("ensemble/snapshot.py --ema-decay inf", ("ensemble/snapshot.py", "--ema-decay", "inf"), says=("EMA_DECAY",)),
    *(
        case(f"weighted_mean.py --step {value[:12]}", (*MEAN, "--step", value), members, quick=value == "nan")
        for value in ("nan", "inf", "1e400", "0", "-0.1", "1e-300", "1e-9", "x", "9" * 400)
    ),
    *(
        case(f"voting.py --hold-out {value[:12]}", (*VOTE, "--hold-out", value), members)
        for value in ("x", "nan", "9" * 30, "-1")
    ),
    *(
        case(
            f"images_to_npz.py --size {value[:12]}",
            (*IMAGES, "--size", value),
            photos,
            quick=len(value) > 6,
            address_space=4 * GIGABYTE,
        )
        for value in ("nan", "-1", "0", "60000", "1000000000", "9" * 30)
    ),
    *(
        case(f"voting.py --scale {value}", (*VOTE, "--scale", f"runs/a/model.h5={value}"), members)
        for value in ("nan", "0", "1/0", "1e400", "x", "1e-400")
    ),
    *(
        case(f"voting.py --std {value}", (*VOTE, "--std", f"runs/a/model.h5={value}"), members)
        for value in ("0,0,0", "nan,1,1", "1,1", "1e400,1,1")
    ),
    *(
        case(
            f"voting.py --class-order {value[:12]}",
            (*VOTE, "--class-order", f"runs/a/model.h5={value}"),
            members,
            status=(0, 2),
        )
        for value in ("0,0,0,0", "x", "9" * 30, "-1,0,1,2")
    ),
]


# TensorBoard, whose errors are no OSErrors
def no_folder_for_tensorboard(folder):
    write("runs/r/tensorboard", "a file in the way")(folder)


ON_DISK = [
    case("tensorboard is a file, lenet.py", LENET_RUN, no_folder_for_tensorboard, says=("tensorboard",)),
    case("runs is a file, lenet.py", LENET_RUN, write("runs", "a file in the way"), says=("runs",)),
    case(
        "runs is a dangling link, lenet.py",
        LENET_RUN,
        lambda folder: (folder / "runs").symlink_to("nowhere"),
        says=("runs",),
    ),
    case("a read-only disk, lenet.py", LENET_RUN, play=on_read_only_disk(), says=("runs|read-only",)),
    case(
        "a read-only disk with the run's folder on it, lenet.py",
        LENET_RUN,
        play=on_read_only_disk(lambda folder: (folder / "runs/r").mkdir(parents=True)),
        says=("runs|read-only",),
    ),
    case("a read-only disk, voting.py", VOTE, play=on_read_only_disk(members), says=("v|read-only",)),
    case("a read-only disk, images_to_npz.py", IMAGES, play=on_read_only_disk(photos), says=("p.npz|read-only",)),
    case("a read-only disk, htd/compare.py", HTD_COMPARE, play=on_read_only_disk(fake_script), says=("read-only",)),
    case(
        "a read-only disk, predict.py",
        PREDICT,
        play=on_read_only_disk(together(trained, photo)),
        says=("p.png|read-only",),
    ),
    case(
        "a read-only disk, export.py",
        (*EXPORT, "e.h5"),
        play=on_read_only_disk(trained),
        says=("e.h5|read-only",),
    ),
    case(
        "a read-only disk, transfer.py",
        (
            "transfer/transfer.py",
            "--data",
            "digits",
            "--base",
            "runs/a/model.h5",
            "--epochs",
            "1",
            "--head-epochs",
            "1",
            "--limit",
            "100",
        ),
        play=on_read_only_disk(trained),
        says=("runs|read-only",),
    ),
    *(
        case(f"a disk with {size:,} bytes left, lenet.py", LENET_RUN, play=on_small_disk(size), status=(0,))
        for size in (4096, 20_000, 100_000, 400_000, 620_000)
    ),
    *(
        case(f"a disk with {size:,} bytes left, voting.py", VOTE, play=on_small_disk(size, members), status=(0,))
        for size in (4096, 12_000, 20_000)
    ),
    case("a disk with 12,000 bytes left, images_to_npz.py", IMAGES, play=on_small_disk(12_000, photos), status=(0,)),
    case("a disk with 8,192 bytes left, minutes.py", MINUTES, play=on_small_disk(8192, members), status=(0,)),
    case("files of 100 bytes, lenet.py", LENET_RUN, file_size=100),  # with less, TensorFlow cannot be imported
    case("files of 10,000 bytes, lenet.py", LENET_RUN, file_size=10_000),
    case(  # where TensorFlow gets no memory for a thread, it ends the process
        "2.5 GB of address space, lenet.py", LENET_RUN, address_space=5 * GIGABYTE // 2, status=(0, 2, -6, -11)
    ),
    case("a folder that was removed, voting.py", ("ensemble/voting.py", "../gone/model.h5", "../gone/model.h5")),
]

CASES = [
    *DEEP_JSON,
    *long_names(LONG),
    *long_names("/".join(["a" * 200] * 30)),
    *FITTING,
    *HTD_SCRIPTS,
    *HUGE,
    *ON_DISK,
]
