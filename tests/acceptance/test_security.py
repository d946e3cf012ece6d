"""Who may reach a pool on this machine: nobody but its own processes, and nothing tells their secret."""

from __future__ import annotations

import base64
import os
import socket
import stat
from pathlib import Path

import psutil
import pytest
from raw_peer import RawPeer

import nbray
from nbray import _runtime
from nbray.core.ids import Address
from nbray.exceptions import HandshakeError
from nbray.wire import handshake

pytestmark = pytest.mark.usefixtures("pool")


@nbray.remote
def echo(value):
    return value


@nbray.remote
class Actor:
    def environ(self):
        print("something for the log")
        return dict(os.environ)

    def ping(self):
        return 1


@pytest.fixture(scope="module")
def busy(pool):
    """A pool that has done a bit of everything."""
    actor = Actor.remote()
    nbray.get([echo.remote(i) for i in range(20)])
    nbray.get(actor.environ.remote())
    yield actor
    del actor


def family():
    driver = psutil.Process()
    return [driver, *driver.children(recursive=True)]


def config():
    return _runtime.current().pool.node.config


def spellings(secret):
    """As bytes, in hex, in base64, as Python and as JSON print them."""
    return {
        secret,
        secret.hex().encode(),
        secret.hex().upper().encode(),
        base64.b64encode(secret)[:-2],
        base64.urlsafe_b64encode(secret)[:-2],
        repr(secret)[2:-1].encode(),
        str(list(secret))[1:-1].encode(),
    }


def assert_no_secret(where, text):
    secret = config().secret
    assert len(secret) == 32
    for spelling in spellings(secret):
        assert spelling not in text, f"{where} shows the secret"


def test_no_process_of_the_default_pool_listens_on_a_port(busy):
    assert len(family()) >= 3
    for process in family():
        listening = [c for c in process.net_connections("inet") if c.status == psutil.CONN_LISTEN]
        assert not listening, process
    assert _runtime.current().address.tcp == ""


def test_the_directories_are_for_this_user_only_and_their_names_cannot_be_guessed(busy):
    for directory in (config().session_dir, config().store_dir):
        state = os.stat(directory)
        assert stat.S_IMODE(state.st_mode) == 0o700
        assert state.st_uid == os.getuid()
        assert len(Path(directory).name) >= len("nbray-") + 8


def test_sockets_logs_and_objects_are_for_this_user_only(busy):
    kept = nbray.put(bytes(1 << 20))
    found = {"socket": 0, "file": 0}
    for top in (config().session_dir, config().store_dir):
        for directory, names, files in os.walk(top):
            for name in [*names, *files]:
                mode = os.lstat(os.path.join(directory, name)).st_mode
                if stat.S_ISSOCK(mode):
                    found["socket"] += 1
                    assert stat.S_IMODE(mode) == 0o600, name
                elif stat.S_ISREG(mode) and top == config().store_dir:
                    found["file"] += 1
                    assert stat.S_IMODE(mode) == 0o600, name
    assert found["socket"] >= 3
    assert found["file"] >= 1
    del kept


def test_the_secret_is_in_no_arguments_and_no_environment(busy):
    for process in family():
        for what in ("cmdline", "environ"):
            assert_no_secret(f"{what} of {process}", Path(f"/proc/{process.pid}/{what}").read_bytes())
    assert_no_secret("os.environ of an actor", repr(nbray.get(busy.environ.remote())).encode())


def test_the_secret_is_in_no_file(busy):
    seen = 0
    for top in (config().session_dir, config().store_dir):
        for file in Path(top).rglob("*"):
            if file.is_file():
                seen += 1
                assert_no_secret(file, file.read_bytes())
    assert seen


def test_the_secret_is_in_no_repr(busy):
    runtime = _runtime.current()
    ref = echo.remote(1)
    things = [
        nbray.init(ignore_reinit_error=True),
        nbray.get_runtime_context(),
        ref,
        busy,
        nbray.nodes(),
        nbray.feed(),
        *nbray.feed().since(0)[0],
        runtime,
        runtime.owner,
        runtime.owner.reactor,
        runtime.pool,
        runtime.pool.node,
        config(),
        runtime.pool.node._processes._boot(0, runtime.pool.node._processes.by_number[1].shape),
    ]
    for thing in things:
        for text in (repr(thing), str(thing), getattr(thing, "_repr_html_", str)()):
            assert_no_secret(type(thing), text.encode())


def stranger():
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(10)
    sock.connect(_runtime.current().address.unix)
    return sock


def closed(sock):
    """Read to the end; the other side has to close, within the socket's time-out."""
    try:
        while sock.recv(4096):
            pass
    except ConnectionResetError:
        pass
    sock.close()
    return True


def test_who_does_not_know_the_secret_is_refused_by_a_living_driver_and_by_executors(busy, tmp_path):
    machine = next(iter(_runtime.current().owner.actors.machines.values()))
    for address in (_runtime.current().address, machine.address, _runtime.current().pool.node.address):
        peer = RawPeer(os.urandom(32), config().node_id, str(tmp_path / "p"))
        try:
            with peer.reactor.lock:
                connection = peer.reactor.connect(Address(*address))
                errors = []
                connection.on_close = lambda _, error, errors=errors: errors.append(error)
            peer.until(lambda errors=errors: bool(errors))
            assert isinstance(errors[0], HandshakeError)
            assert connection.peer is None
        finally:
            peer.reactor.close()
    assert nbray.get(busy.ping.remote()) == 1


def test_another_protocol_version_is_refused_with_both_versions(busy, monkeypatch, tmp_path):
    other = b"nbray" + bytes((handshake.PROTOCOL + 1, 3, 99))
    with stranger() as sock:
        sock.sendall(other + bytes(32))
        assert closed(sock)
    # And in words, on the side that has the other version.
    ours = handshake._GREETING
    side = handshake.Handshake(bytes(32), connector=True)
    monkeypatch.setattr(handshake, "_GREETING", other)
    with pytest.raises(
        HandshakeError, match=r"protocol \d+ on Python 3\.\d+, .* protocol \d+ on Python 3\.99"
    ):
        side.receive(ours + bytes(64))


@pytest.mark.parametrize("says", [b"GET / HTTP/1.1\r\n\r\n", b"\0" * 100, os.urandom(200), b"nbrax"])
def test_garbage_is_cut_off_at_once(busy, says):
    with stranger() as sock:
        sock.sendall(says)
        assert closed(sock)
    assert nbray.get(busy.ping.remote()) == 1


def test_a_recorded_handshake_opens_nothing(busy):
    """What a true peer said, said again."""
    recorded = handshake.Handshake(config().secret, connector=True)
    with stranger() as sock:
        sock.sendall(recorded.start())
        proof = b""
        while not recorded.done:
            proof += recorded.receive(sock.recv(100))[0]
    with stranger() as sock:
        sock.sendall(recorded.start() + proof)
        assert closed(sock)
