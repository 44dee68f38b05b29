"""placeholder replaced below"""

from vergence.run.directory import RunDirectory


def write_report(directory: RunDirectory) -> None:
    """Nothing yet."""
