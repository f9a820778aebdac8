"""What Dataflow's --setup_file runs on a worker; all metadata is in pyproject.toml."""

from setuptools import setup

setup()
