"""Kind 1, check, then replace: two of the same command write one result, and one at most may win."""

from faults.harness import Case, race
from faults.material import LENET, QUICKLY, member, members, photo, photos, together, trained

VOTE = ("ensemble/voting.py", "runs/a/model.h5", "runs/b/model.h5", "--out", "v")
OTHER_VOTE = ("ensemble/voting.py", "runs/b/model.h5", "runs/a/model.h5", "--out", "v")
DRAWING, SAVING = "numpy.load matplotlib.figure:Figure.savefig", "numpy.savez"  # what comes before, and writing it


def files(command, names):
    """Return a command with two other models."""
    return tuple(names.get(word, word) if isinstance(word, str) else word for word in command)


OTHERS = {"runs/a/model.h5": "runs/b/model.h5", "runs/b/model.h5": "runs/a/model.h5"}
MEAN = ("ensemble/weighted_mean.py", *VOTE[1:])
COMPARE = ("ensemble/compare.py", *VOTE[1:])
PREDICT = ("ensemble/predict.py", "runs/a/model.h5", "runs/b/model.h5", "--images", "photo.png", "--out", "p.png")
EXPORT = ("ensemble/export.py", "compare/ensemble.json", "--method", "soft voting", "--out")
IMAGES = ("tools/images_to_npz.py", "photos", "p.npz")
MINUTES = ("tools/minutes.py", "runs/a", "--out", "m.png")
ADD = ("tools/results.py", "place", "--add", "runs/a/run.json", "--name", "x")
LENET_RUN = (*LENET, *QUICKLY[-2:], "--run", "r")


def two_votes(folder):
    members(folder)
    member(folder / "runs" / "c", 2)


def place(folder):
    members(folder)
    (folder / "place").mkdir()


def case(name, command, result, setup, other=None, quick=False, **options):
    play = race(result, other=other, **options)
    return Case(1, name, command, setup, status=(0,), play=play, quick=quick)


CASES = [
    case("two voting.py of two ensembles, at once, 5 times", VOTE, "v/ensemble.json", members, OTHER_VOTE, tries=5),
    case(
        "two voting.py of two ensembles meet as they draw",
        *(VOTE, "v/ensemble.json", members, OTHER_VOTE),
        slow=DRAWING,
        quick=True,
    ),
    case("two voting.py of one ensemble, at once, 3 times", VOTE, "v/ensemble.json", members, tries=3),
    case("two voting.py of one ensemble meet as they draw", VOTE, "v/ensemble.json", members, slow=DRAWING),
    *(
        case(
            f"two voting.py of two ensembles, {apart} s apart",
            VOTE,
            "v/ensemble.json",
            members,
            OTHER_VOTE,
            apart=apart,
        )
        for apart in (0.1, 0.3, 0.6, 1.0)
    ),
    case(
        "voting.py and weighted_mean.py with one --out",
        *(VOTE, "v/ensemble.json", members, MEAN),
        slow=DRAWING,
    ),
    case(
        "voting.py of two and of three members",
        VOTE,
        "v/ensemble.json",
        two_votes,
        (*VOTE[:3], "runs/c/model.h5", *VOTE[3:]),
        slow=DRAWING,
    ),
    case(
        "two weighted_mean.py of two ensembles, 3 times", MEAN, "v/ensemble.json", members, files(MEAN, OTHERS), tries=3
    ),
    case(
        "two weighted_mean.py with two steps", MEAN, "v/ensemble.json", members, (*MEAN, "--step", "0.1"), slow=DRAWING
    ),
    case("two compare.py of two ensembles", COMPARE, "v/ensemble.json", trained, files(COMPARE, OTHERS)),
    case("two compare.py of one ensemble meet as they draw", COMPARE, "v/ensemble.json", trained, slow=DRAWING),
    case("two predict.py with one --out", PREDICT, "p.png", together(trained, photo), files(PREDICT, OTHERS)),
    case(
        "two predict.py meet as they draw",
        *(PREDICT, "p.png", together(trained, photo), files(PREDICT, OTHERS)),
        slow=DRAWING,
    ),
    case("two images_to_npz.py, at once, 5 times", IMAGES, "p.npz", photos, (*IMAGES, "--size", "32"), tries=5),
    case(
        "two images_to_npz.py meet as they save",
        *(IMAGES, "p.npz", photos, (*IMAGES, "--size", "32")),
        slow=SAVING,
        apart=0.5,
        quick=True,
    ),
    case("two images_to_npz.py, the same, meet as they save", IMAGES, "p.npz", photos, IMAGES, slow=SAVING),
    case("two export.py to one .keras file", (*EXPORT, "e.keras"), "e.keras", trained, tries=2),
    case("two export.py to one .h5 file, 1 s apart", (*EXPORT, "e.h5"), "e.h5", trained, apart=1.0),
    case(
        "two export.py of two methods to one .keras file",
        *((*EXPORT, "e.keras"), "e.keras", trained),
        ("ensemble/export.py", "compare/ensemble.json", "--method", "likelihood", "--out", "e.keras"),
    ),
    case(
        "two minutes.py meet as they draw",
        MINUTES,
        "m.png",
        members,
        ("tools/minutes.py", "runs/b", *MINUTES[2:]),
        slow=DRAWING,
    ),
    case(
        "two results.py --add with one --name",
        ADD,
        "place/results/x.json",
        place,
        files(ADD, {"runs/a/run.json": "runs/b/run.json"}),
        slow="os.fsync",
        apart=0.5,
    ),
    case(
        "two results.py --add with one --name, 5 times",
        ADD,
        "place/results/x.json",
        place,
        files(ADD, {"runs/a/run.json": "runs/b/run.json"}),
        tries=5,
    ),
    case("two lenet.py in one folder", LENET_RUN, "runs/r/run.json", lambda folder: None),
    case("two lenet.py in one folder, 4 s apart", LENET_RUN, "runs/r/run.json", lambda folder: None, apart=4.0),
]
