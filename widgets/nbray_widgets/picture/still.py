"""The last picture of a task graph: an image, and the same as a table for who sees no image.

JupyterLab takes ``<svg>``, ``<style>`` and ``data-`` attributes out of notebooks that it does not trust (any fresh clone), and
code hosts do too. What is left must still read well: hence an ``<img>``, plain tags and inline styles.

Every name passes ``escape``: it is text, whatever it contains.
"""

from __future__ import annotations

from base64 import b64encode
from html import escape
from typing import Any

from nbray_widgets.picture.svg import drawing
from nbray_widgets.picture.words import SIGNS, STATES, fates, needs, summary
from nbray_widgets.reducers.delta import State
from nbray_widgets.text import seconds

OPEN_UP_TO = 20  # groups: a longer table is folded up, the picture alone is enough then

LEFT = ' style="text-align:left;padding:2px 10px"'
RIGHT = ' style="text-align:right;padding:2px 10px"'


def html(state: State, details: dict[str, Any] | None = None, *, gone: bool = False) -> str:
    """The picture; ``details``: group id to ``TaskGraphReducer.tasks`` of it, shown on demand below.

    ``gone``: there is no pool any more, so no actor either.
    """
    return (
        '<div class="nbray-graph nbray-still" role="group" aria-label="nbray task graph">'
        f"<p><b>Task graph</b>: {escape(summary(state))}</p>"
        f"{_image(state, gone=gone)}{_groups(state, gone=gone)}{_tasks(state, details or {})}</div>"
    )


def _image(state: State, *, gone: bool) -> str:
    drawn = drawing(state, gone=gone)
    if drawn is None:
        return ""
    svg, width, height = drawn
    return (
        f'<p><img src="data:image/svg+xml;base64,{b64encode(svg.encode()).decode()}" '
        f'alt="nbray task graph: {escape(summary(state))}" width="{width}" height="{height}" '
        'style="max-width:100%;height:auto"></p>'
    )


def _groups(state: State, *, gone: bool) -> str:
    groups, taken = state["groups"], needs(state)
    if not groups and not state["actors"]:
        return ""
    shown = [name for name in STATES if name == "done" or any(group[name] for group in groups.values())]
    any_taken = any(taken.values())
    head = f"<th{LEFT}>name</th>" + "".join(f"<th{RIGHT}>{SIGNS[name]} {name}</th>" for name in shown)
    head += f"<th{RIGHT}>each took</th>" + f"<th{LEFT}>takes results of</th>" * any_taken
    rows = "".join(
        f'<tr class="nbray-group" data-name="{escape(group["name"])}"'
        + "".join(f' data-{name}="{group[name]}"' for name in STATES)
        + f"><td{LEFT}>{escape(group['name'])}</td>"
        + "".join(f"<td{RIGHT}>{group[name]:,}</td>" for name in shown)
        + f"<td{RIGHT}>{seconds(group['mean']) if group['done'] + group['failed'] else ''}</td>"
        + (f"<td{LEFT}>{escape(', '.join(taken[key]))}</td>" if any_taken else "")
        + "</tr>"
        for key, group in groups.items()
    )
    actors = "".join(
        f'<li class="nbray-actor" data-name="{escape(actor["name"])}">'
        f"actor {escape(actor['name'])}: {fates(actor, gone=gone)}</li>"
        for actor in state["actors"].values()
    )
    return (
        f"<details{' open' if len(groups) <= OPEN_UP_TO else ''}><summary>functions and actors</summary>"
        f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>{f'<ul>{actors}</ul>' if actors else ''}</details>"
    )


def _tasks(state: State, details: dict[str, Any]) -> str:
    rows = "".join(
        f"<tr><td{LEFT}>{escape(state['groups'][key]['name'])}</td><td{LEFT}>{task['state']}</td>"
        f"<td{RIGHT}>{seconds(task['duration'])}</td><td{LEFT}><code>{escape(task['process'][:8])}</code></td>"
        f"<td{LEFT}>{escape(task['error'])}</td></tr>"
        for key, found in details.items()
        for task in {task["task"]: task for task in found["failed"][:5] + found["slowest"][:5]}.values()
    )
    if not rows:
        return ""
    return (
        "<details><summary>failed and slowest tasks</summary>"
        f"<table><thead><tr><th{LEFT}>name</th><th{LEFT}>state</th><th{RIGHT}>time</th><th{LEFT}>process</th>"
        f"<th{LEFT}>error</th></tr></thead><tbody>{rows}</tbody></table></details>"
    )
