"""Pure state machines: no sockets, no clock, no Dask. Values in, values and effects out."""
