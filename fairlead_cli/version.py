"""The version that is installed."""

from importlib import metadata


def version() -> str:
    """Return Fairlead's version, `0+unknown` where it runs without having been installed."""
    try:
        return metadata.version("fairlead")
    except metadata.PackageNotFoundError:
        return "0+unknown"
