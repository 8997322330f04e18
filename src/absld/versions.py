"""Which version of a package is installed."""

from importlib import metadata


def version(package: str) -> str | None:
    """None where it is not installed: this project itself may run from its sources alone."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
