"""Gives pip the two parts of requirements.txt: what the library needs, and what the course adds.

``pip install .`` brings the library alone, ``pip install ".[course]"`` the notebooks and tests as
well. Everything else about the package stands in pyproject.toml.
"""

from pathlib import Path

from setuptools import setup

COURSE = "# The course"
"""The comment in requirements.txt with which the second part begins."""


def versions(part: str) -> list[str]:
    """The lines of a part that name a package and its version."""
    return [line for line in part.splitlines() if "==" in line]


library, _, course = Path(__file__).with_name("requirements.txt").read_text().partition(COURSE)
setup(install_requires=versions(library), extras_require={"course": versions(course)})
