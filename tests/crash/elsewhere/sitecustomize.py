"""Lets a Python process that has this folder on its path believe that it is on another machine, with another clock."""

import os
import socket
import time

_AHEAD = float(os.environ["TEST_CLOCK_AHEAD"])
_clocks = {"time": time.time, "clock_gettime": time.clock_gettime}

socket.gethostname = lambda: os.environ["TEST_HOST"]
time.time = lambda: _clocks["time"]() + _AHEAD
time.clock_gettime = lambda clock: _clocks["clock_gettime"](clock) + _AHEAD
