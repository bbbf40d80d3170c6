"""The kinds of objects that kube-sync reads and writes."""

from fairlead.adapters.kubernetes_api import Kind
from fairlead.contracts.containers import API_VERSION, MANAGED_BY, MANAGED_BY_LABEL, MODEL_LABEL

MODELS = Kind(API_VERSION, "edgemodels", "EdgeModel")
PLANS = Kind(API_VERSION, "edgeplans", "EdgePlan")
TABLES = Kind(API_VERSION, "edgeroutingtables", "EdgeRoutingTable")
SERVICES = Kind("v1", "services", "Service")
ROUTES = Kind("gateway.networking.k8s.io/v1", "httproutes", "HTTPRoute")

OURS = f"{MANAGED_BY_LABEL}={MANAGED_BY}"
"""Selects what Fairlead has made."""

OF_MODELS = f"{OURS},{MODEL_LABEL},!app.kubernetes.io/component"
"""Selects what Fairlead has made for a model, never what the chart has for a process of ours."""
