"""A whole runtime behind standard input and output: JSON-RPC, one message per line."""

from actrio.stdio._serve import serve_stdio as serve_stdio
