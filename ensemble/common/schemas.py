"""The JSON files of runs and ensembles: what each must hold, and the one function that reads them.

A schema names the fields that are needed, and what they may be; others may stand beside them, but for a member's form.
Every number is finite.
"""

import json
import math
import re
from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType, field

from ensemble.common.checks import check_file
from ensemble.common.command import RefusedError

MOST_BYTES = 64 * 2**20  # of a file: those of this collection have some kB, with stacking's numbers some MB

Share = Annotated[float, Meta(ge=0, le=1)]
Gain = Annotated[float, Meta(ge=-1, le=1)]
Amount = Annotated[float, Meta(ge=0, le=1e12)]  # so that sums are finite too
Positive = Annotated[float, Meta(gt=0)]
Count = Annotated[int, Meta(ge=0, le=2**53)]
Temperature = Annotated[float, Meta(ge=1e-3, le=1e3)]  # those that are learnt are from 1/20 to 20
Name = Annotated[str, Meta(max_length=1000)]
Setting = bool | int | float | str | None | list[bool | int | float | str]


# Training runs
class Accuracy(Struct):
    accuracy: Share


class Settings(Struct):
    """Those of a run's settings that other programs look at."""

    DATA: Annotated[str, Meta(min_length=1, max_length=4096)] = "unknown"
    HOLD_OUT: Annotated[int, Meta(ge=0, le=10**9)] = 0


class ReportedSettings(Settings, kw_only=True):
    DATA: Annotated[str, Meta(min_length=1, max_length=4096)]
    EPOCHS: Count
    SEED: Count


class Run(Struct):
    """run.json, of a member of an ensemble."""

    model: Name
    parameters: Count
    settings: dict[str, Setting]

    def __post_init__(self):
        check(self.settings, Settings, "settings")


class ScoredRun(Struct):
    """run.json, for tools/minutes.py."""

    validation: Accuracy
    test: Accuracy
    device: Name


class ReportedRun(Struct):
    """run.json, in results/."""

    script: Name
    command: str
    settings: dict[str, Setting]
    parameters: Count
    model: Name
    validation: Accuracy
    test: Accuracy
    seconds: Amount
    images_per_second: Amount
    precision: Name
    device: Name
    data_name: Name = ""

    def __post_init__(self):
        check(self.settings, ReportedSettings, "settings")


class Score(Accuracy):
    loss: Amount


class FinishedRun(Struct):
    """run.json, for cluster/."""

    script: Name
    settings: dict[str, Setting]
    validation: Accuracy
    seconds: Amount


class ComparedRun(ReportedRun, kw_only=True):
    """run.json, for htd/."""

    script_sha256: Name
    git_commit: Name | None
    date: Name
    split: Name
    images: dict[str, Count]
    validation: Score
    test: Score


class Seconds(Struct):
    """FILE.seconds.json, beside a model."""

    seconds: Annotated[float, Meta(gt=0, le=1e9)]


# Ensembles
class FormFields(Struct, forbid_unknown_fields=True):
    """How a model from elsewhere is fed and read: the fields of forms.Form."""

    scale: Positive = 1.0
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[Positive, Positive, Positive] = (1.0, 1.0, 1.0)
    class_order: list[Count] | None = None
    outputs: Literal["probabilities", "logits", "sigmoid"] | None = None
    output: Name | None = None
    channels: Literal["rgb", "bgr"] = "rgb"
    resize: Literal["nearest", "bilinear", "bicubic", "lanczos3", "lanczos5"] | None = None
    size: tuple[Count, Count] | None = None

    def __post_init__(self):
        if self.class_order is not None and sorted(self.class_order) != list(range(len(self.class_order))):
            raise ValueError("class_order has not each class once, from 0 up")


class Member(Struct):
    path: str
    model: Name
    form: FormFields | None = None
    weight: Share | UnsetType = UNSET


class Method(Struct):
    """What a method scores, and what it has learnt: how many numbers these are is for combining/rule.py to check."""

    validation: Accuracy
    temperature: Temperature | None = None
    weights: list[Share] | UnsetType = UNSET
    tempered_weights: list[Share] | UnsetType = UNSET
    temperatures: list[Temperature] | UnsetType = UNSET
    kernel: list[list[float]] | UnsetType = UNSET
    bias: list[float] | UnsetType = UNSET


class Ensemble(Struct):
    """ensemble.json."""

    data: str
    members: Annotated[list[Member], Meta(min_length=1)]
    methods: dict[str, dict] = {}
    script: Name = ""

    def __post_init__(self):
        for name, method in self.methods.items():
            check(method, Method, f"methods[{name!r}]")


class Interval(Struct):
    gain: Gain
    low: Gain
    high: Gain
    adjusted_p: Share


class ReportedMember(Member, kw_only=True):
    validation: Accuracy
    test: Accuracy


class ReportedMethod(Struct):
    validation: Accuracy
    test: Accuracy
    over_best: Interval | None = None
    over_single_run: Interval | None = None


class ReportedEnsemble(Ensemble, kw_only=True):
    """ensemble.json, in results/."""

    script: Name
    command: str
    members: Annotated[list[ReportedMember], Meta(min_length=1)]
    methods: dict[str, dict]
    device: Name
    data_name: Name = ""

    def __post_init__(self):
        super().__post_init__()
        for name, method in self.methods.items():
            check(method, ReportedMethod, f"methods[{name!r}]")


# Comparisons of schedules
class OverSeeds(Struct):
    mean: Share
    median: Share
    best: Share
    deviation: Share | None = None


class Difference(Struct):
    mean: Gain
    low: float | None
    high: float | None


class Schedule(Struct):
    validation: OverSeeds
    test: OverSeeds
    seconds: Amount
    difference: Difference | None = None


class Pair(Struct):
    lower: Annotated[float, Meta(ge=-20, le=0)] = field(name="from")
    upper: Annotated[float, Meta(ge=0, le=20)] = field(name="to")
    validation: OverSeeds


class ChosenPair(Pair):
    test: OverSeeds


class Pairs(Struct):
    cells: list[Pair]
    chosen: ChosenPair


class EpochsOf(Struct):
    EPOCHS: Count


class Training(Struct):
    script: Name
    settings: EpochsOf


class SeedOf(Struct):
    seed: Count


class Comparison(Struct):
    """htd.json: what both kinds have."""

    script: Name
    command: str
    data: str
    training: Training
    runs: list[SeedOf]
    precision: Name
    device: Name


class Schedules(Comparison, kw_only=True):
    """htd.json of htd/compare.py."""

    schedules: dict[str, dict]
    data_name: Name = ""

    def __post_init__(self):
        for name, schedule in self.schedules.items():
            check(schedule, Schedule, f"schedules[{name!r}]")


class Grid(Comparison, kw_only=True):
    """htd.json of htd/grid.py."""

    grid: Pairs
    data_name: Name = ""


# Reading
KINDS = {  # what msgspec calls them, and what people do
    "float": "a number",
    "int": "a whole number",
    "str": "a text",
    "array": "a list",
    "object": "a group of values",
    "bool": "true or false",
    "null": "nothing",
}


def check(value, schema, place=""):
    """Raise ValueError, in msgspec's words, unless a value is as a schema says; place: where it stands."""
    try:
        msgspec.convert(value, schema)
    except msgspec.ValidationError as error:
        text, _, within = str(error).partition(" - at `$")
        raise ValueError(f"{text} - at `$.{place}{within.rstrip('`')}`" if place else str(error)) from None


def in_words(error):
    """Return what a ValueError of check, or another, says, for people."""
    text, _, place = str(error).partition(" - at `$")
    text = re.sub("`(.+?)`", lambda found: " or ".join(KINDS.get(kind, kind) for kind in found[1].split(" | ")), text)
    text = text.replace("Object missing required field", "lacks").replace("Expected", "must be")
    place = place.strip("`.")
    return f"{place} {text}" if place else text


def parse_json(text):
    """Return what JSON holds; raise ValueError if it is none, is nested too deep or has numbers that are not finite.

    Not by msgspec: it refuses what stands in a record for the bytes of a file's name that is not UTF-8.
    """

    def number(text):
        if not math.isfinite(float(text)):
            raise ValueError(f"the number {text} is not finite")
        return float(text)

    try:
        return json.loads(text, parse_float=number, parse_constant=number)
    except RecursionError:
        raise ValueError("it is nested too deep") from None


def read_json(path, schema, mend):
    """Return what a JSON file holds, as dictionaries and lists; raise RefusedError if that is not as the schema says.

    mend: what the error says at its end. A schema's defaults are not filled in.
    """
    check_file(path, MOST_BYTES)
    try:
        value = parse_json(path.read_text(encoding="utf-8"))
        check(value, schema)
    except OSError as error:
        raise RefusedError(f"{path} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise RefusedError(f"{path} is damaged: {in_words(error)}; {mend}") from None
    return value
