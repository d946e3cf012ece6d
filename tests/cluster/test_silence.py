from __future__ import annotations

import logging

import pytest

from nbray.cluster.quiet import Silence


@pytest.fixture
def logger():
    logger = logging.getLogger("distributed")
    before = logger.level
    logger.setLevel(logging.INFO)
    yield logger
    logger.setLevel(before)


def test_dask_logs_again_as_before_when_the_last_session_has_ended(logger):
    first, second = Silence(), Silence()
    first.end()
    assert logger.level == logging.WARNING
    second.end()
    assert logger.level == logging.INFO


def test_the_end_of_a_session_is_stiller_than_what_goes_on(logger):
    first, second = Silence(), Silence()
    first.deepen()
    assert logger.level == logging.ERROR
    first.end()
    assert logger.level == logging.WARNING
    second.end()
    assert logger.level == logging.INFO


def test_who_wants_to_hear_less_than_warnings_hears_less(logger):
    logger.setLevel(logging.ERROR)
    silence = Silence()
    assert logger.level == logging.ERROR
    silence.end()
    assert logger.level == logging.ERROR
