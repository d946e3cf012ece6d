"""An executor that takes leases and actors and runs nothing. Imported by the template, not by pytest."""

from __future__ import annotations

import os
from typing import Any

from nbray.channel.reactor import Reactor
from nbray.core import messages
from nbray.core.ids import Address, new_process_id
from nbray.executor.boot import Boot


def run(boot: Boot) -> None:
    """Its pid is in ``<session_dir>/<its process id>``."""
    address = Address(new_process_id(), boot.node_id, "", "")
    with open(f"{boot.session_dir}/{address.process.hex()}", "w") as file:
        file.write(str(os.getpid()))
    reactor = Reactor(address, boot.secret)
    agent = reactor.connect(boot.agent)

    def heard(connection: Any, message: Any) -> None:
        if message[0] == messages.RETIRE:
            os._exit(0)
        if message[0] == messages.HOST:
            _, actor, epoch, creation, _ = message
            agent.send((messages.HOSTED, actor, epoch, creation or None))

    agent.on_message = heard
    agent.on_close = lambda connection, error: os._exit(0)
    agent.send((messages.READY, boot.number, os.getpid(), tuple(address)))
    while True:
        reactor.step(60)
