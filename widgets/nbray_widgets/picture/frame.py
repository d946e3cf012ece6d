"""The element around every still picture, and how the page's theme reaches into it."""

from __future__ import annotations

from string import Template

# An image asks `prefers-color-scheme`, and browsers answer by the `color-scheme` of its element: the notebook's theme, not the
# desktop's. A JupyterLab that has no such widget any more says so in the output before ours; the picture says it better.
# Where style sheets are taken out (untrusted notebooks, code hosts), widgets are not tried, and the desktop's scheme counts.
_STYLE = Template(
    "<style>"
    "[data-jp-theme-light='false'] .nbray-of-$token img,.vscode-dark .nbray-of-$token img{color-scheme:dark}"
    "[data-jp-theme-light='true'] .nbray-of-$token img,.vscode-light .nbray-of-$token img{color-scheme:light}"
    ".jp-OutputArea-child:has(+.jp-OutputArea-child .nbray-of-$token):not(:has(.nbray-view)){display:none}"
    "</style>"
)


def frame(html: str, token: str) -> str:
    """``html`` so that the widget with this token finds it, and the theme too."""
    return f'<div class="nbray-of-{token}">{_STYLE.substitute(token=token)}{html}</div>'
