"""Benchmarks: figures to look at, never asserted. `python -m bench` runs all of them one after another."""
