"""Tests of the slot agent."""
