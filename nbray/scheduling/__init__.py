"""The Dask side: placement in the scheduler, leases as tasks, the agent in each worker, the driver's uplink.

Importing a module of this package imports distributed (0.3 s), which ``import nbray`` never does.
"""
