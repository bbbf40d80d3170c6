"""Tests against a real Kubernetes API server whose nodes and kubelets are played."""
