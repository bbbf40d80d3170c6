"""The digital twin: clusters, demand and events in virtual time, decided by the very same policy code."""
