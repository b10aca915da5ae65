"""Python imports this at its start where PYTHONPATH has this folder: it makes one function of the process misbehave.

FAULT is "ACT FUNCTION NUMBER WHEN", or several with semicolons between, such as "kill os.replace 2 before": at the
second call of os.replace, and before it does anything, the process ends as by kill -9. The acts:

kill    the process is gone
full    OSError, no space left on the device; read-only, that of a read-only disk
slow    two seconds pass, so that another process comes in between
"""

import errno
import functools
import importlib
import os
import signal
import time

FAULTS = {"full": errno.ENOSPC, "read-only": errno.EROFS}


def misbehaving(function, act, number, when):
    """Return a function with the fault at its call of that number."""
    calls = 0

    def fault():
        if act == "slow":
            time.sleep(2)
        elif act == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        else:
            raise OSError(FAULTS[act], os.strerror(FAULTS[act]))

    @functools.wraps(function)
    def call(*arguments, **options):
        nonlocal calls
        calls += 1
        if calls == number and when == "before":
            fault()
        result = function(*arguments, **options)
        if calls == number and when == "after":
            fault()
        return result

    return call


for text in filter(None, os.environ.get("FAULT", "").split(";")):
    act, place, number, when = text.split()
    module, name = place.split(":") if ":" in place else place.rsplit(".", 1)
    owner = importlib.import_module(module)
    *classes, name = name.split(".")
    for part in classes:
        owner = getattr(owner, part)
    setattr(owner, name, misbehaving(getattr(owner, name), act, int(number), when))
