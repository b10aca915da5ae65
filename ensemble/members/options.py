"""The arguments that commands on ensembles share."""

import argparse
from pathlib import Path

from ensemble.common.command import new_parser
from ensemble.common.files import unfinished_folders
from ensemble.model_files.form_options import add_form_options


def result_path(text):
    """Return the path of a folder for a result: a new or empty one, or one that has a result already."""
    folder = Path(text)
    folder = folder if folder.name not in ("", "..") else folder.resolve()  # . has no name, and needs one beside it
    for parent in folder.parents:
        if parent.exists() and not parent.is_dir():
            raise argparse.ArgumentTypeError(f"{parent} is a file; give a folder")
    if folder.is_symlink() and not folder.exists():
        raise argparse.ArgumentTypeError(f"{folder} is a link to what is not there; give a folder")
    is_result = not folder.exists() or (folder / "ensemble.json").exists()
    if not is_result and (folder.is_file() or set(folder.iterdir()) - set(unfinished_folders(folder))):
        raise argparse.ArgumentTypeError(f"{folder} holds other files, which stay as they are; give a new folder")
    return folder


def argument_parser(description):
    """Return a parser of the arguments that all commands on ensembles take, whose errors are one line."""
    parser = new_parser(description)
    parser.add_argument("models", nargs="+", metavar="MODEL", help="two or more trained models, .h5 or .keras")
    parser.add_argument(
        "--data",
        metavar="DATA",
        help="images to score the members on: cifar10, cifar100, mnist, fashion_mnist, digits or a .npz file, as in "
        "4.ResNet/resnet.py, or a folder, as in transfer/transfer.py; needed only for a model with neither run.json "
        "nor predictions beside it",
    )
    parser.add_argument(
        "--hold-out",
        type=int,
        metavar="N",
        help="training images kept for validation, HOLD_OUT in 4.ResNet/resnet.py (default: that of run.json, or "
        "5000); a model that was trained on some of them looks better than it is",
    )
    add_form_options(parser)
    parser.add_argument(
        "--out",
        type=result_path,
        metavar="FOLDER",
        help="folder for ensemble.json and what goes with it (default: one in runs/, named after command and members)",
    )
    return parser
