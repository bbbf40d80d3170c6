"""The cluster that the tests here share."""

from tests.kubernetes.lab import kubeconfig, playground

__all__ = ("kubeconfig", "playground")
