"""Kind 8, Pillow trusts content, not names: a picture that holds PostScript must not be handed to Ghostscript."""

from faults.harness import Case, complaints_of_files, complaints_of_words, files_in, run
from faults.material import DOS_EPS, POSTSCRIPT, ghostscript, photos, together, trained, write
from faults.races import IMAGES, PREDICT

TRANSFER = ("transfer/transfer.py", "--data", "photos", "--base", "runs/a/model.h5", "--image-size", "32")
ON_PATH = {"PATH": "bin:/usr/bin:/bin"}  # the folder's own first
CONTENTS = {
    "PostScript": POSTSCRIPT,
    "PostScript with a head of DOS": DOS_EPS,
    "PostScript after blanks": b"\x04" + POSTSCRIPT,
    "PostScript in Photoshop's words": POSTSCRIPT.replace(
        b"%%EndComments", b"%%ImageData: 40 40 8 3 0 1 1\n%%EndComments"
    ),
}


def was_not_run(case, folder):
    """Try a case, and complain too if Ghostscript was run."""
    before = files_in(folder)
    found = complaints_of_words(case, run(case, folder)) + complaints_of_files(case, before, folder)
    return found + ["Ghostscript was run"] * (folder / "gs-was-run").exists()


def case(name, command, setup, quick=False, **options):
    return Case(8, name, command, together(ghostscript, setup), quick=quick, play=was_not_run, env=ON_PATH, **options)


CASES = [
    *(
        case(
            f"{text} in x{suffix}, predict.py",
            (*PREDICT[:4], f"x{suffix}", *PREDICT[5:]),
            together(trained, write(f"x{suffix}", content)),
            says=(f"x{suffix}",),
        )
        for text, content in CONTENTS.items()
        for suffix in (".png", ".jpg", ".eps", "")
        if suffix == ".png" or text == "PostScript"
    ),
    *(
        case(
            f"{text} in x{suffix}, images_to_npz.py {' '.join(size)}",
            (*IMAGES, *size),
            together(photos, write(f"photos/train/cat/x{suffix}", content)),
            suffix == ".png" and text == "PostScript",
            says=(f"x{suffix}",),
        )
        for text, content in CONTENTS.items()
        for suffix in (".png", ".jpg", ".JPEG")
        for size in ((), ("--size", "32"))
        if not (suffix != ".png" and text != "PostScript") and not (size and suffix != ".png")
    ),
    *(
        case(
            f"{text} in x.png, transfer.py",
            TRANSFER,
            together(trained, photos, write("photos/train/cat/x.png", content)),
            says=("x.png",),
        )
        for text, content in CONTENTS.items()
    ),
]
