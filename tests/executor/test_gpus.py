"""How a process's GPUs are called."""

from __future__ import annotations

import pytest

from nbray.executor import gpus


@pytest.mark.parametrize(
    ("indices", "visible", "names"),
    [
        ((0, 1), None, (0, 1)),
        ((1,), "3,5", ("5",)),
        ((0,), "GPU-8932f937,GPU-ab", ("GPU-8932f937",)),
        ((), "3,5", ()),
        ((2,), "7", ("7",)),
        ((0,), "", ()),
        ((0,), "NoDevFiles", ()),
    ],
)
def test_names_are_indices_or_what_the_variable_lists(
    indices: tuple[int, ...], visible: str | None, names: tuple[int | str, ...]
) -> None:
    environment = {} if visible is None else {gpus.VARIABLE: visible}
    assert gpus.names(indices, environment) == names


def test_a_process_without_gpus_keeps_its_environment() -> None:
    assert gpus.variables(()) == {}
    assert gpus.variables((0, "GPU-ab")) == {gpus.VARIABLE: "0,GPU-ab"}


def test_a_node_has_no_more_gpus_than_are_visible() -> None:
    gpus.check_visible(2, {gpus.VARIABLE: "1,2"})
    gpus.check_visible(2, {})
    with pytest.raises(ValueError, match=r"num_gpus is 3, but CUDA_VISIBLE_DEVICES='1,2' leaves 2"):
        gpus.check_visible(3, {gpus.VARIABLE: "1,2"})
