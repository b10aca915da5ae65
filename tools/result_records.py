"""The records in results/: how they are read or refused."""

from ensemble.common.checks import check_file
from ensemble.common.command import refuse
from ensemble.common.files import file_hash
from ensemble.common.schemas import Grid, ReportedEnsemble, ReportedRun, Schedules, read_json

KINDS = {"settings": ReportedRun, "schedules": Schedules, "grid": Grid, "methods": ReportedEnsemble}  # by a field
MEND = "record a finished run, ensemble or comparison"


def read_records(root):
    """Return {name: record} of results/NAME.json, those marked whose weights are there; or refuse one."""
    records = {file.stem: read_record(file) for file in sorted(root.glob("results/*.json"))}
    check_weights(records, root)
    return records


def check_weights(records, root):
    """Fail unless every results/weights/NAME.h5 is the model of results/NAME.json; mark those records."""
    for file in sorted(root.glob("results/weights/*.h5")):
        record = records.get(file.stem, {})
        check_file(file)
        if record.get("model") != file_hash(file):
            refuse(f"{file} is not the model of results/{file.stem}.json, by its SHA-256; remove it")
        record["weights"] = True


def read_record(file):
    """Return a record as a dictionary, or refuse it, naming the file and what is wrong with it."""
    record = read_json(file, dict, MEND)
    for field, schema in KINDS.items():
        if field in record:
            return read_json(file, schema, MEND)
    refuse(f"{file} is no record of a run or an ensemble or of htd/: it has none of {', '.join(KINDS)}; remove it")
