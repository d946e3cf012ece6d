"""The shell that every process has which submits or runs work: the pure machines, one lock, one reactor."""
