"""How long a step of training takes, and how much memory: for the programs that training.py starts."""

import resource
import time

LEAST_STEPS, MOST_STEPS = 2, 250  # of an epoch of 45,000 images, which has 351 steps and more, not all
WARM_UP = 3  # seconds, after the first step, which traces and allocates


class Stopwatch:
    """Call `step_ended` after every step of training; it returns the result when enough steps were timed.

    Timed are as many steps as fill `seconds`, by the last step of the warm-up, but 2 at least and 250 at most. A slow
    network's warm-up is two steps.
    """

    def __init__(self, batch_size, seconds):
        self.batch_size, self.seconds = batch_size, seconds
        self.ends = []
        self.first_timed = self.to_time = None

    def step_ended(self):
        """Return None, or at the end {"images_per_second": float, "memory": peak resident memory in GiB}."""
        self.ends.append(time.perf_counter())
        if self.first_timed is None:
            if len(self.ends) > 1 and (self.ends[-1] - self.ends[0] > WARM_UP or len(self.ends) > MOST_STEPS // 3):
                step = self.ends[-1] - self.ends[-2]
                self.first_timed = len(self.ends)
                self.to_time = min(MOST_STEPS, max(LEAST_STEPS, round(self.seconds / step)))
            return None
        if len(self.ends) < self.first_timed + self.to_time:
            return None
        seconds = self.ends[-1] - self.ends[self.first_timed - 1]
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # Linux counts in KiB
        return {"images_per_second": self.to_time * self.batch_size / seconds, "memory": memory}
