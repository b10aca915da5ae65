"""What a run leaves of every epoch."""

import numpy as np
import pandas as pd

from ensemble.common.checks import check_file
from ensemble.common.command import RefusedError
from ensemble.common.schemas import MOST_BYTES


def read_history(file, *columns):
    """Return a run's history.csv as a pandas table; refuse one without epochs, or these columns of finite numbers."""
    check_file(file, MOST_BYTES)
    try:
        history = pd.read_csv(file)
        numbers = history[list(columns)].to_numpy(np.float64)
    except (ValueError, TypeError, KeyError):
        numbers = np.empty(0)
    if numbers.size == 0 or not np.isfinite(numbers).all():
        mend = "move its folder away, and the run is trained again"
        raise RefusedError(f"{file} is damaged: it has no rows of the numbers {', '.join(columns)}; {mend}")
    return history
