"""What was printed, without scripts."""

from __future__ import annotations

from html import escape
from time import localtime, strftime

from nbray_widgets.picture.rows import Row
from nbray_widgets.reducers.delta import State
from nbray_widgets.text import counted

MOST = 200
#: Inline, because style sheets are taken out; both colours read well on white and on black.
_ERR, _FAINT = ' style="color:#d1444a"', ' style="color:#808890"'
_PRE = ' style="margin:0;white-space:pre-wrap;overflow-wrap:anywhere"'


def summary(state: State) -> str:
    """``1,204 lines of 3 names``."""
    about, names = state["about"], state["names"]
    wanted = about["wanted"]
    if not about["count"]:
        return f"nothing printed yet by {wanted}" if wanted else "nothing printed yet"
    told = f"{counted(about['count'], 'line')} of {wanted or counted(len(names), 'name')}"
    return told + (f"; {counted(about['skipped'], 'older event')} not seen" if about["skipped"] else "")


def _last(state: State) -> list[Row]:
    return list(state["lines"].values())[-MOST:]


def _more(state: State) -> str:
    hidden = state["about"]["count"] - min(len(state["lines"]), MOST)
    return f"{counted(hidden, 'earlier line')} not shown" if hidden > 0 else ""


def html(state: State) -> str:
    more = _more(state)
    shown = "\n".join(
        f"<span{_FAINT}>{_time(row)} {escape(row['name'])} {row['pid']}</span> "
        + (f"<span{_ERR}>{escape(row['text'])}</span>" if row["stream"] == "err" else escape(row["text"]))
        for row in _last(state)
    )
    return (
        '<div class="nbray-logs nbray-still" role="group" aria-label="nbray logs">'
        f"<p><b>Logs</b>: {escape(summary(state))}</p>{f'<p>{escape(more)}</p>' if more else ''}"
        f"{f'<pre{_PRE}>{shown}</pre>' if shown else ''}</div>"
    )


def text(state: State) -> str:
    told = [f"nbray logs: {summary(state)}"]
    if more := _more(state):
        told.append(f"  ... {more}")
    told += [
        f"  {_time(row)} ({row['name']} pid={row['pid']}){'!' if row['stream'] == 'err' else ' '} {row['text']}"
        for row in _last(state)
    ]
    return "\n".join(told)


def _time(row: Row) -> str:
    return strftime("%H:%M:%S", localtime(row["time"]))
