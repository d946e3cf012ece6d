"""What is said of an executor that went."""

from __future__ import annotations

from pathlib import Path

from nbray.executor.loss import describe, loss_of, tail_of

SIGKILLED, SEGFAULTED, EXIT_3 = 9, 11 | 128, 3 << 8


def test_a_signal_is_named() -> None:
    assert loss_of(SEGFAULTED, 5, "tail") == ("signal", "SIGSEGV", 5, 11, "tail")
    assert loss_of(40, 5, "") == ("signal", "signal 40", 5, 40, "")


def test_an_exit_says_its_code() -> None:
    assert loss_of(EXIT_3, 5, "tail") == ("exit", "exit code 3", 5, 3, "tail")


def test_a_kill_that_nbray_sent_is_no_crash() -> None:
    assert loss_of(SIGKILLED, 5, "tail", killed="cancelled") == ("killed", "cancelled", 5, 9, "")


def test_a_kill_that_somebody_else_sent_is_one() -> None:
    assert loss_of(SIGKILLED, 5, "tail") == ("signal", "SIGKILL", 5, 9, "tail")


def test_a_crash_that_was_faster_than_our_kill_remains_a_crash() -> None:
    assert loss_of(SEGFAULTED, 5, "tail", killed="cancelled")[:2] == ("signal", "SIGSEGV")


def test_who_said_that_it_leaves_did_not_crash() -> None:
    assert loss_of(0, 5, "tail", leaving="exit_actor") == ("killed", "exit_actor", 5, 0, "")


def test_the_tail_is_the_last_lines_without_control_bytes(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"early\n" * 2000 + b"\x1b[31mred\x07\tand \xff\nlast\n\n")
    lines = tail_of(str(log)).splitlines()
    assert lines[-2:] == ["[31mred\tand \ufffd", "last"]
    assert len(lines) == 30


def test_no_log_has_no_tail(tmp_path: Path) -> None:
    assert tail_of(str(tmp_path / "none")) == ""


def test_a_loss_in_words_names_process_and_reason() -> None:
    assert describe(("signal", "SIGSEGV", 5, 11, "tail")) == "process 5: SIGSEGV\ntail"
    assert describe(("init", b"pickle", 5, 0, "")) == "process 5: its __init__ raised"
