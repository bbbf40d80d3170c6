"""The cluster that the tests here share."""

from tests.kubernetes.definitions import defined
from tests.kubernetes.lab import kubeconfig, playground

__all__ = ("defined", "kubeconfig", "playground")
