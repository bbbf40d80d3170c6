"""The compiled core of the twin: the reference engine's meaning over arrays, compiled by numba."""
