"""What the machine does without nbray."""

from __future__ import annotations

import json
from pathlib import Path

import psutil
import pytest

from nbray.bench.limits import LIMITS, main, measure


@pytest.mark.parametrize("name", [name for name in LIMITS if name != "import_dask"])
def test_each_limit_has_a_figure_and_leaves_no_process(name: str) -> None:
    if name in ("copy", "copy_threads"):
        pytest.importorskip("numpy")
    assert measure(name, 0.01) > 0
    assert not psutil.Process().children()


def test_they_are_told_as_a_table_and_written_with_all_samples(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in set(LIMITS) - {"round_trip", "copy_and_map"}:
        monkeypatch.delitem(LIMITS, name)
    assert main(["--rounds", "2", "--seconds", "0.01", "--json", str(tmp_path / "limits.json")]) == 0
    assert "| put and get 1 MiB |" in capsys.readouterr().out
    written = json.loads((tmp_path / "limits.json").read_text())
    assert [len(limit["samples"]) for limit in written["limits"].values()] == [2, 2]


@pytest.mark.parametrize("wrong", [["--rounds", "0"], ["--seconds", "0"]])
def test_what_cannot_be_measured_is_refused(wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(wrong)
    assert "--rounds must be 1 or more" in capsys.readouterr().err
