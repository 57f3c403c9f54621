"""``actrio schema``: what goes over the wires, as JSON Schema."""

from __future__ import annotations

import json

import cyclopts

__all__ = ["make_schema_app"]


def stdio() -> int:
    """Print the JSON Schema of what actrio serve --stdio takes and sends."""
    from actrio.stdio import wire_schema

    print(json.dumps(wire_schema(), indent=2, ensure_ascii=False))
    return 0


def make_schema_app() -> cyclopts.App:
    """Return the grammar of ``actrio schema``."""
    app = cyclopts.App(
        name="schema",
        help="JSON Schemas of what goes over the wires.",
        help_epilogue="",
        default_parameter=cyclopts.Parameter(negative=""),
    )
    app.command(stdio)
    return app
