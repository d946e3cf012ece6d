"""Stores under test, and small file systems for them."""

from __future__ import annotations

import os
import subprocess
from contextlib import contextmanager

import numpy as np
import pytest

from nbray.store.directory import ACCOUNT, DISK, FREE
from nbray.store.segments import open_segment, path_of
from nbray.wire.pickling import dump, load

SIZE = 100_000


def oid(number):
    return number.to_bytes(16, "big")


def array(number, size=SIZE):
    return np.full(size, number % 251, np.uint8)


def put(store, number, size=SIZE):
    dumped = dump(array(number, size))
    return store.write(oid(number), dumped.pickle, dumped.buffers)


def get(store, segment, number):
    return load(*open_segment(store.directory, *segment[:3], oid(number)))


def objects(directory):
    """The files in memory that are, or become, objects."""
    return sorted(set(os.listdir(directory)) - {ACCOUNT, DISK, FREE})


def waiting(directory):
    return sorted(os.listdir(f"{directory}/{FREE}"))


def spilled(directory):
    return sorted(os.listdir(f"{directory}/{DISK}"))


@contextmanager
def tiny_tmpfs(path, size="4m"):
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size},mode=700", "nbray-test", path],
        check=False,
        capture_output=True,
    )
    if mounted.returncode:
        pytest.skip("may not mount a file system")
    try:
        yield path
    finally:
        subprocess.run(["umount", path], check=True)


def inode(store, segment):
    return os.stat(path_of(store.directory, segment.name)).st_ino


@contextmanager
def forked(work):
    """A child that runs ``work`` once it is told to, at the end of the block, and has to succeed."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.close(writing)
            os.read(reading, 1)
            status = 0 if work() else 1
        finally:
            os._exit(status)
    os.close(reading)
    try:
        yield
    finally:
        os.close(writing)
        _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
