"""All verbs, in the order in which the help shows them. A new one is a file in ``verbs`` and an entry here."""

from __future__ import annotations

from nbray_magics.grammar import Table
from nbray_magics.verbs import bench, graph, measure, pool, run, status, tables, timeline, trace

LINE = Table.of(
    "%nbray",
    (
        pool.INIT,
        status.STATUS,
        graph.GRAPH,
        timeline.TIMELINE,
        tables.ACTORS,
        tables.OBJECTS,
        tables.LOGS,
        bench.BENCH,
        trace.TRACE,
        pool.SCALE,
        pool.SHUTDOWN,
    ),
)

CELL = Table.of("%%nbray", (measure.TIME, measure.SWEEP), alone=run.RUN)
