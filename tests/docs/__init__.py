"""Tests of the documents against the code."""
