"""Fairlead: decides which generative models are awake on which edge node, and where each prompt goes."""
