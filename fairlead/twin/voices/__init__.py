"""Agents by rule: they read prompts and write replies as a language model does, and are none."""
