"""The slot agent: a placement and a routing table for each slot, and at once where a model is missed."""
