"""Keeps together what Kubernetes shows and what the store holds: declared models, mirrors, a gateway's routes."""
