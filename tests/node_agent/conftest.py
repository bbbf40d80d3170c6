"""The cluster on which the Kubernetes runtime is tried."""

from tests.kubernetes.lab import kubeconfig

__all__ = ("kubeconfig",)
