"""The node agent: keeps a node's pods as the placement wants them, drains before it stops, reports."""
