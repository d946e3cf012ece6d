"""Rules for the labels of nodes."""

from __future__ import annotations

import pytest

from nbray.core.labels import check_name, check_value, matches, rule, told


@pytest.mark.parametrize(
    ("condition", "zone", "obeyed"),
    [
        ("a", "a", True),
        ("a", "b", False),
        ("a", None, False),
        ("!a", "a", False),
        ("!a", "b", True),
        ("!a", None, True),
        ("in(a,b)", "b", True),
        ("in(a, b)", "b", True),
        ("in(a,b)", "c", False),
        ("in(a,b)", None, False),
        ("!in(a,b)", "b", False),
        ("!in(a,b)", "c", True),
        ("!in(a,b)", None, True),
        ("", "", True),
        ("", None, False),
    ],
)
def test_a_rule_looks_at_one_label(condition: str, zone: str | None, obeyed: bool) -> None:
    labels = {"other": "a"} if zone is None else {"other": "x", "zone": zone}
    assert matches(labels, (rule("zone", condition),)) == obeyed


def test_all_rules_must_be_obeyed_and_none_are() -> None:
    rules = (rule("disk", "!slow"), rule("zone", "in(a,b)"))
    assert matches({"disk": "fast", "zone": "a"}, rules)
    assert not matches({"disk": "slow", "zone": "a"}, rules)
    assert matches({}, ())


@pytest.mark.parametrize(
    "condition", ["a b", "in(a", "in()", "in(a,)", "in(a b)", "!!a", "a" * 64, "-a", "a,b"]
)
def test_a_condition_that_says_nothing_is_refused(condition: str) -> None:
    with pytest.raises(ValueError, match=r"says nothing of label 'zone': right are 'a', '!a'"):
        rule("zone", condition)


@pytest.mark.parametrize("name", ["", "a b", "-a", "a/b/c", "a" * 64, "Ab/c/"])
def test_what_cannot_be_a_label_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="cannot be the name of a label"):
        check_name(name)


def test_names_may_have_a_domain_and_values_be_empty() -> None:
    check_name("ray.io/node-id")
    check_name("zone")
    check_value("")
    with pytest.raises(ValueError, match="'a b' cannot be the value of a label"):
        check_value("a b")


def test_rules_are_told_as_they_are_written() -> None:
    rules = (rule("disk", "!slow"), rule("kind", "!in(b,a)"), rule("zone", "in(a,b)"))
    assert told(rules) == "{disk: !slow, kind: !in(a,b), zone: in(a,b)}"
