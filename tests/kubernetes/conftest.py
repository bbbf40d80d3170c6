"""The cluster that the tests here share."""

from tests.kubernetes.definitions import defined
from tests.kubernetes.helm import guarded, tools
from tests.kubernetes.lab import kubeconfig, playground

__all__ = ("defined", "guarded", "kubeconfig", "playground", "tools")
