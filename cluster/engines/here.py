"""Runs on this machine, some side by side."""

import threading
from concurrent.futures import ThreadPoolExecutor

from cluster.process import WAIT, Watcher, new_task, train


class Here:
    """An engine that trains `parallel` runs side by side on this machine, each in a process of its own."""

    retries = False  # what ended it here, such as too little memory, would again

    def __init__(self, parallel):
        self.parallel = parallel
        self.pool = ThreadPoolExecutor(parallel)
        self.loading = threading.Lock()  # one at a time loads its images: Keras unpacks a data set each time
        self.processes, self.ended = [], threading.Event()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        """End the runs that are in training, and start no more."""
        self.ended.set()
        for process in list(self.processes):
            process.terminate()
        self.pool.shutdown(cancel_futures=True)

    def submit(self, run):
        return self.pool.submit(self.train, new_task(run))

    def train(self, task):
        return train(task, WatcherHere(self))


class WatcherHere(Watcher):
    """Keeps other runs from starting until this one has its images, and ends it with the engine."""

    def __init__(self, engine):
        self.engine, self.is_loading = engine, False

    def begin(self):
        self.engine.loading.acquire()
        self.is_loading = True

    def started(self, process):
        self.engine.processes.append(process)
        if self.engine.ended.is_set():  # looked at after that, so that one of the two ends it
            process.terminate()

    def wrote(self):
        """Its first words come later than its images."""
        if self.is_loading:
            self.is_loading = False
            self.engine.loading.release()

    def wait(self):
        return self.engine.ended.wait(WAIT)
