"""The planner: what is wanted of each node, for an epoch."""
