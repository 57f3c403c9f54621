"""The command line. It owns its process: signals, streams and the call of ``trio.run``."""

from actrio.cli._edge import run_command_line as run_command_line
