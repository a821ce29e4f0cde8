"""The commands of `python -m app`, except `run`."""
