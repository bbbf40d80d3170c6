"""The local cluster: supervision, summary, and a short real run."""
