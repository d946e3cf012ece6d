"""Live views of an nbray pool: widgets over the event feed."""

from nbray_widgets.graph import TaskGraph
from nbray_widgets.shell import finish_all

__all__ = ["TaskGraph", "finish_all"]
