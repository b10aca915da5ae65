"""Become a training script that ends when its parent does, however that ends.

    python cluster/bound.py PARENT SCRIPT ARGUMENTS    # PARENT: the number of the process that starts this one

On Linux alone. A program of its own, since in a process with threads nothing is safely called between fork and exec.
"""

import ctypes
import os
import signal
import sys

parent, *command = sys.argv[1:]
pr_set_pdeathsig = 1  # its number in C's sys/prctl.h
ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)
if os.getppid() != int(parent):  # it ended before that call
    sys.exit("the program that started this run has ended")
os.execv(sys.executable, [sys.executable, *command])
