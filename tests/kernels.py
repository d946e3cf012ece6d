"""A real kernel, spoken to as a notebook does."""

from __future__ import annotations

import os
import re
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from jupyter_client import BlockingKernelClient, KernelManager

PATIENCE = 60


class Kernel:
    def __init__(self, manager: KernelManager, client: BlockingKernelClient) -> None:
        self.manager = manager
        self.client = client

    def run(
        self, cell: str, on_message: Callable[[dict[str, Any]], object] = lambda message: None
    ) -> tuple[dict, list[dict]]:
        """The reply's content and what was published under the cell. ``on_message`` sees each message as it comes."""
        request = self.client.execute(cell)
        published = []
        while True:
            message = self.client.get_iopub_msg(timeout=PATIENCE)
            if message["parent_header"].get("msg_id") != request:
                continue
            if message["msg_type"] == "status" and message["content"]["execution_state"] == "idle":
                break
            published.append(message)
            on_message(message)
        return self._reply(request), published

    def _reply(self, request: str) -> dict:
        while True:
            reply = self.client.get_shell_msg(timeout=PATIENCE)
            if reply["parent_header"].get("msg_id") == request:
                content: dict = reply["content"]
                return content

    def ok(self, cell: str) -> list[dict]:
        reply, published = self.run(cell)
        assert reply["status"] == "ok", said(published) + "\n".join(reply.get("traceback", []))
        return published

    def value(self, cell: str) -> str:
        """The text of the cell's value."""
        (result,) = of_kind(self.ok(cell), "execute_result")
        text: str = result["data"]["text/plain"]
        return text

    def fails(self, cell: str) -> str:
        """All that a cell that fails shows, without colours."""
        reply, published = self.run(cell)
        assert reply["status"] == "error"
        shown = "".join("\n".join(content["traceback"]) for content in of_kind(published, "error"))
        return _plain(said(published) + shown)

    def interrupt(self) -> None:
        """As a notebook's stop button; from any thread (the manager would make an event loop for it)."""
        assert self.manager.provisioner is not None
        os.kill(self.manager.provisioner.pid, signal.SIGINT)

    def ask_to_stop(self) -> None:
        """As that button where the kernel's specification has ``"interrupt_mode": "message"``."""
        self.client.control_channel.send(self.client.session.msg("interrupt_request", {}))

    def complete(self, code: str) -> list[str]:
        request = self.client.complete(code, len(code))
        matches: list[str] = self._reply(request)["matches"]
        return matches

    def inspect(self, code: str) -> str:
        request = self.client.inspect(code, len(code))
        return _plain(self._reply(request)["data"].get("text/plain", ""))


def _plain(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


def of_kind(published: list[dict], kind: str) -> list[dict]:
    return [message["content"] for message in published if message["msg_type"] == kind]


def said(published: list[dict]) -> str:
    return "".join(content["text"] for content in of_kind(published, "stream"))


@contextmanager
def kernel(directory: Path) -> Iterator[Kernel]:
    """``directory``: where it works; its parent's environment says where IPython's files are."""
    manager = KernelManager(kernel_name="python3", transport="ipc", ip=str(directory / "k"))
    manager.start_kernel(cwd=str(directory))
    client = manager.blocking_client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=PATIENCE)
        yield Kernel(manager, client)
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=False)
        manager.cleanup_resources()
        client.context.term()
        manager.context.term()


def after(event: threading.Event, action: Callable[[], object]) -> threading.Thread:
    """Do something once an event has happened."""

    def wait() -> None:
        assert event.wait(PATIENCE)
        action()

    thread = threading.Thread(target=wait)
    thread.start()
    return thread
