"""One file per outside system: each is its sole importer as a client."""
