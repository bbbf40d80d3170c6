"""Tests of what planner and slot agent have in common, and the world that both are tested in."""
