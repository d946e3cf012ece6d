"""The names of ``nbray.util`` take what those of ``ray.util`` take. What Ray's are was recorded from Ray 2.60."""

import inspect
import json
from pathlib import Path

import pytest

import nbray

RECORDED = json.loads((Path(__file__).parent / "ray_signatures.json").read_text())


def find(name):
    found = nbray
    for part in name.split("."):
        found = getattr(found, part)
    return found


@pytest.mark.parametrize("name", RECORDED)
def test_the_parameters_are_those_of_ray(name):
    own = inspect.signature(find(name)).parameters.values()
    ours = [
        [each.name, each.kind.name, "" if each.default is each.empty else repr(each.default)] for each in own
    ]
    rays = RECORDED[name]
    assert [each for each in ours if each in rays] == rays
    # What nbray adds has a default and has to be named.
    assert all(kind == "KEYWORD_ONLY" and default for _, kind, default in ours[len(rays) :])
