"""The control API: what people and edge processes ask of the core side, over HTTP."""
