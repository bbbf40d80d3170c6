"""Tests of kube-sync without a cluster; those on a real API server are in `tests/kubernetes`."""
