"""How a driver begins: its directories, its owner, and the pool that it starts or attaches to."""

from __future__ import annotations

import gc
import os
import secrets
import shutil
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from nbray import events
from nbray.bars import session as bars
from nbray.channel.interrupts import put_off
from nbray.core.ids import new_node_id, new_process_id
from nbray.core.ownership import Entry
from nbray.machine import MemoryFigures, cpu_count
from nbray.owner.owner import Owner
from nbray.owner.reloads import Reloaded
from nbray.store.directory import make_store, remove_store

if TYPE_CHECKING:
    from nbray.cluster.pool import Pool


def start(
    entry_type: type[Entry],
    address: Any,
    *,
    num_cpus: float | None,
    num_gpus: float | None,
    resources: Mapping[str, float] | None,
    labels: Mapping[str, str] | None,
    namespace: str | None,
    env_vars: Mapping[str, str] | None,
    object_store_memory: int | None,
) -> tuple[Owner, Pool]:
    """Start a local pool, or attach to the cluster at ``address``. The arguments are those of ``init``, checked."""
    attached = address is not None
    with put_off():
        from nbray.executor.node_config import NodeConfig, make_session_dir

        if attached:
            from nbray.cluster import existing, ssh
        else:
            from nbray.cluster.local import start_local
    process, node, secret = new_process_id(), new_node_id(), secrets.token_bytes(32)
    environment = tuple(sorted((env_vars or {}).items()))
    pools: list[Pool] = []
    owner = hosts = None
    session_dir = store_dir = ""
    try:
        if attached:
            if isinstance(address, str) and address.startswith(ssh.SCHEME):
                hosts = ssh.start(address)
                address = hosts.address
            secret = existing.secret_of(address, secret)
        # Only now: who is killed while the scheduler does not answer leaves nothing.
        session_dir = make_session_dir()
        store_dir = make_store("nbray-", f"{session_dir}/spill", object_store_memory)
        owner = Owner(
            process=process,
            node=node,
            secret=secret,
            store_dir=store_dir,
            socket_path=f"{session_dir}/driver",
            tcp_host=existing.host_towards(address) if attached else "",
            entry_type=entry_type,
            send_up=lambda message: pools[0].uplink.send(message),
            # The nodes of a cluster serve others, too: there each lease says what its executor is to have.
            environment=environment if attached else (),
        )
        owner.chronicle.listen()
        owner.feed.append((events.PROCESS, time.time(), process, "up", "driver", os.getpid(), node, ""))
        owner.feed.on_watch = owner.chronicle.watch
        if "IPython" in sys.modules:
            owner.reloads = Reloaded().look
        config = NodeConfig(
            node_id=node,
            session_dir=session_dir,
            store_dir=store_dir,
            secret=secret,
            env=environment,
        )
        if attached:
            pools.append(existing.attach(address, owner.address, config, owner.notice, on_lost=owner.abandon))
            if hosts is not None:
                pools[0].at_end(hosts.close)
        else:
            have = {"CPU": float(cpu_count() if num_cpus is None else num_cpus), **(resources or {})}
            if num_gpus:
                have["GPU"] = float(num_gpus)
            have.setdefault("memory", float(MemoryFigures().total()))
            pools.append(start_local(process, config, have, owner.notice, labels=labels))
        owner.lead.start()
        owner.interrupts.install()
    except BaseException:
        if owner is not None:
            owner.close()
        if hosts is not None and not pools:
            hosts.close()
        if session_dir:
            shutil.rmtree(session_dir, ignore_errors=True)
        if store_dir:
            remove_store(store_dir)
        raise
    owner.job, owner.namespace = process, namespace or secrets.token_hex(8)
    bars.serve(owner)
    return owner, pools[0]


@contextmanager
def no_collections() -> Iterator[None]:
    """To start is to import Dask: many objects that stay. Collections amid that cost a fifth of its time and find nothing."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()
