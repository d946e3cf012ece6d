"""The driver's uplink to placement on a Dask cluster of its own: an asynchronous Dask client on the pool's thread.

It is never the process's default client: what the user computes with Dask goes where it always went.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from distributed import Client
from distributed.comm.core import CommClosedError

from nbray.core.messages import Message
from nbray.scheduling import streams

logger = logging.getLogger("nbray.uplink")


class UplinkClient(Client):
    """A Dask client that does not reconnect: the scheduler has ended what a lost driver owned.

    Attributes:
        on_lost: called once, on the loop, when the link to the scheduler is gone and ``close`` was not called.
    """

    on_lost: Callable[[], None] = staticmethod(lambda: None)

    async def _reconnect(self) -> None:
        self.status = "closed"
        self.scheduler_comm = None

    async def _handle_report(self) -> None:
        try:
            await super()._handle_report()
        finally:
            if self.status != "closing":
                self.on_lost()


class DaskUplink:
    """Posts messages to placement.

    Args:
        client: started, on the running loop.
        process: the driver's owner.
        on_message: gets what placement says, on the loop.
        grows: the cluster is known to scale by itself as it is needed.
    """

    def __init__(
        self,
        client: UplinkClient,
        process: bytes,
        on_message: Callable[[Message], None],
        grows: bool = False,
    ) -> None:
        self._client = client
        self._process = process
        self._loop = asyncio.get_running_loop()
        self._on_message = on_message
        client._stream_handlers[streams.DOWN] = self._heard
        streams.hasten(client.scheduler_comm)
        self._post(("hello", grows))

    def send(self, message: Message) -> None:
        """From any thread. What cannot be sent because the link is gone is dropped: ``on_lost`` tells."""
        try:
            self._loop.call_soon_threadsafe(self._post, message)
        except RuntimeError:  # the pool is closed
            pass

    def _post(self, message: Message) -> None:
        comm: Any = self._client.scheduler_comm
        if comm is None:
            return
        try:
            comm.send({"op": streams.UP, "process": self._process, "message": message})
        except CommClosedError:
            pass

    def _heard(self, process: bytes, message: Message) -> None:
        try:
            self._on_message(message)
        except Exception:  # Dask's client would close
            logger.exception("the driver could not take %r", message[:1])
