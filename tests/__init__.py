"""Tests; `tests/acceptance` runs the whole system, all else stands beside the package it names."""
