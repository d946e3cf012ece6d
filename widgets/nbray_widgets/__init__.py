"""Live views of an nbray pool: widgets over the event feed."""

from nbray_widgets.benchmark import BenchmarkView
from nbray_widgets.cluster import ClusterView
from nbray_widgets.graph import TaskGraph
from nbray_widgets.shell import finish_all
from nbray_widgets.tables import ActorTable, LogTable, ObjectTable
from nbray_widgets.timeline import Timeline

__all__ = [
    "ActorTable",
    "BenchmarkView",
    "ClusterView",
    "LogTable",
    "ObjectTable",
    "TaskGraph",
    "Timeline",
    "finish_all",
]
