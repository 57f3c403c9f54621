# ruff: noqa: A005 - the room that is measured is called http
"""What HTTP adds: see `python -m bench.http`."""
