"""Kind 2, after a kill or a full disk: the same command finishes the job and tidies up."""

import random

from faults.harness import Case, nothing, then_again
from faults.htd_script import COMPARE as HTD_COMPARE
from faults.htd_script import fake_script
from faults.material import members, photo, photos, together, trained
from faults.races import ADD, COMPARE, EXPORT, IMAGES, LENET_RUN, MEAN, MINUTES, PREDICT, VOTE, place

CLEARED = ("*unfinished-*", "*backup.npz")
MADE = (0, 2)  # 2: it was made before the kill, and stays as it is
WITHOUT_KERAS = {  # name: (command, setup, what it leaves, statuses if not 0)
    "voting.py": (VOTE, members, ("v/ensemble.json", "v/ensemble.png")),
    "weighted_mean.py": (MEAN, members, ("v/ensemble.json", "v/ensemble.png")),
    "images_to_npz.py": (IMAGES, photos, ("p.npz",), MADE),
    "minutes.py": (MINUTES, members, ("m.png",), MADE),
    "results.py --add": (ADD, place, ("place/results/x.json",), MADE),
    "htd/compare.py": (HTD_COMPARE, fake_script, ("runs/compare-*/htd.json",)),
}
WITH_KERAS = {
    "compare.py": (COMPARE, trained, ("v/ensemble.json", "v/report.html")),
    "predict.py": (PREDICT, together(trained, photo), ("p.png",), MADE),
    "export.py .keras": ((*EXPORT, "e.keras"), trained, ("e.keras",), MADE),
    "export.py .h5": ((*EXPORT, "e.h5"), trained, ("e.h5",), MADE),
}
POINTS = ("os.fsync 1 before", "os.replace 1 before", "os.replace 1 after", "os.replace 2 before", "os.replace 2 after")
MORE_POINTS = ("os.link 1 before", "os.link 1 after", "os.unlink 1 before", "os.mkdir 1 after", "os.fsync 2 before")
QUICK = [("voting.py", "os.replace 1 after"), ("images_to_npz.py", "os.replace 1 before")]
QUICK_FULL = [("images_to_npz.py", "os.fsync 1 before")]


def again(name, command, setup, leaves, status=(0,), quick=False, seconds=120, **options):
    play = then_again(**options)
    return Case(
        2, name, command, setup, status=status, leaves=leaves, play=play, quick=quick, seconds=seconds, clears=CLEARED
    )


def at_points(commands, points, act="kill", quickly=()):
    """Return cases of commands that meet their fault at points."""
    words = {"kill": "killed at", "full": "a full disk at", "read-only": "a read-only disk at"}[act]
    return [
        again(f"{name}, {words} {point}", *parts, quick=(name, point) in quickly, fault=f"{act} {point}")
        for name, parts in commands.items()
        for point in points
    ]


def at_random(commands, most, tries):
    """Return cases of commands that are killed after a time, of up to `most` seconds, that only the seed knows."""
    chance, cases = random.Random(0), []
    for name, parts in commands.items():
        for number in range(1, tries + 1):
            until = round(chance.uniform(0.1, most), 2)
            cases.append(again(f"{name}, killed after {until} s, {number}", *parts, until=until))
    return cases


FINISHED = tuple(f"runs/r/{name}" for name in ("model.h5", "run.json", "predictions.npz", "history.csv", "curves.png"))
LENET = {"lenet.py": (LENET_RUN, nothing, FINISHED, MADE)}
LENET_POINTS = ("1 after", "2 before", "2 after", "3 after", "5 after", "6 before", "6 after")  # of os.replace
SMALL_FILES = {"of 0 bytes": 0, "of 100 bytes": 100, "of 5,000 bytes": 5000}


def small_files(commands):
    """Return cases of commands that may at first write no file larger than a few bytes, as with `ulimit -f`."""
    return [
        again(f"{name}, then files {text}", *parts, limits={"file_size": size})
        for name, parts in commands.items()
        for text, size in SMALL_FILES.items()
    ]


CASES = [
    *at_points(WITHOUT_KERAS, POINTS + MORE_POINTS, quickly=QUICK),
    *at_points(WITHOUT_KERAS, ("os.fsync 1 before", "os.replace 1 before"), act="full", quickly=QUICK_FULL),
    *at_points(WITHOUT_KERAS, ("os.replace 1 before",), act="read-only"),
    *at_random({name: WITHOUT_KERAS[name] for name in ("voting.py", "images_to_npz.py", "htd/compare.py")}, 1.6, 5),
    *small_files({name: parts for name, parts in WITHOUT_KERAS.items() if parts[1] is not fake_script}),
    *at_points(WITH_KERAS, ("os.replace 1 before", "os.replace 1 after")),
    *at_points(WITH_KERAS, ("os.fsync 1 before",), act="full"),
    *at_points(LENET, (*(f"os.replace {point}" for point in LENET_POINTS), "pathlib:Path.unlink 1 before")),
    *at_points(LENET, ("os.fsync 1 before", "os.fsync 3 before"), act="full"),
    *at_random(LENET, 12, 2),
]
