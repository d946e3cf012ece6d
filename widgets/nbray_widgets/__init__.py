"""Live views of an nbray pool: widgets over the event feed."""

from nbray_widgets.graph import TaskGraph
from nbray_widgets.shell import finish_all
from nbray_widgets.timeline import Timeline

__all__ = ["TaskGraph", "Timeline", "finish_all"]
