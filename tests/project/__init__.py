"""Tests of what surrounds the code: what processes load, what documents say."""
