"""What must hold of the whole system, as named cases, run once per commit: `python -m tests.acceptance --help`."""
