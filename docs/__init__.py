"""Pages about Fairlead; `docs.generate` writes those that are read off the code."""
