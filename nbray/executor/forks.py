"""A fork by user code that returns from its call, or raises out of it, instead of ending.

It has a copy of everything: the call, the queue behind it, the very sockets and their poller. It would answer the call a second
time, and take messages that are for the executor, whose callers would then wait for ever. So it ends where user code gives
control back, as a program ends there.
"""

from __future__ import annotations

import os
import sys
import traceback
from typing import NoReturn

from nbray.channel.reactor import Reactor

#: This process is a fork of an executor.
forked = False


def watch(reactor: Reactor) -> None:
    """This process is an executor, whose forks are copies from here on."""

    def mark() -> None:
        global forked
        forked = True
        reactor.disown()

    os.register_at_fork(after_in_child=mark)


def leave() -> NoReturn:
    """End this copy, with the code of the exception that is under way."""
    error = sys.exception()
    code = 0
    if isinstance(error, SystemExit):
        code = error.code if isinstance(error.code, int) else 0 if error.code is None else 1
    elif error is not None:
        code = 1
    try:
        if error is not None and not isinstance(error, SystemExit):
            traceback.print_exception(error)
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)
