"""How fast nbray is, side by side with its peers: ``python -m nbray.bench --help``.

The parent (`__main__`, `conductor`) starts one fresh interpreter a peer and round (`child`), in turn, so that the noise of the
machine falls on all alike. `cases` says what is measured, once for all peers; `peers` gives every peer the few verbs of
Ray that the cases use. `measure`, `stats` and `report` are pure.

A peer may live in an interpreter that has no nbray, so `child` loads these modules under the name ``nbray_bench``: `cases`,
`measure`, `peers` and the adapters import nothing but the standard library and one another at their top.
"""
