"""A whole runtime behind standard input and output: JSON-RPC, one message per line."""

from actrio.stdio._rules import WireRules as WireRules
from actrio.stdio._schema import wire_schema as wire_schema
from actrio.stdio._serve import serve_stdio as serve_stdio
