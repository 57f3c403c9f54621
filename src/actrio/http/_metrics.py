"""The service and its runtime as Prometheus text, version 0.0.4.

Labels come from closed sets only: route templates, methods, statuses, states. Never an id, a name
given by a client, or anything of a prompt.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

import trio

from actrio.http._desk import Desk

__all__ = ["METRICS_TYPE", "render_metrics"]

METRICS_TYPE = b"text/plain; version=0.0.4; charset=utf-8"

_Sample = tuple[Mapping[str, str], float]


def render_metrics(desk: Desk) -> bytes:
    """Return all metrics of ``desk`` and its runtime."""
    lines: list[str] = []

    def add(name: str, kind: str, text: str, samples: Iterable[_Sample] | float) -> None:
        lines.append(f"# HELP actrio_{name} {text}")
        lines.append(f"# TYPE actrio_{name} {kind}")
        found = [({}, samples)] if isinstance(samples, (int, float)) else samples
        lines.extend(f"actrio_{name}{_labels(labels)} {value:g}" for labels, value in found)

    numbers = desk.runtime.statistics()
    add("turns_running", "gauge", "Turns in flight.", numbers.turns_running)
    add("turns_waiting", "gauge", "Turns that wait for a slot.", numbers.turns_waiting)
    add("turns_max", "gauge", "Turns that may be in flight.", numbers.turns_max)
    add("sessions_open", "gauge", "Sessions that are open.", numbers.sessions_open)
    add("sessions_max", "gauge", "Sessions that may be open.", numbers.sessions_max)
    add("actor_restarts", "gauge", "Restarts of the actors that live.", numbers.restarts)
    letters = [({"reason": reason}, count) for reason, count in numbers.dead_letters.items()]
    add("dead_letters_total", "counter", "Messages that nobody handled.", letters)
    states = Counter(node.state for node in desk.runtime.tree().walk())
    add("actors", "gauge", "Actors.", [({"state": s}, n) for s, n in sorted(states.items())])
    add("http_calls", "gauge", "Requests in work.", desk.calls)
    add("http_streams", "gauge", "Event streams that are open.", desk.stops.streams)
    add("http_facade_turns", "gauge", "Turns of the OpenAI façade in work.", desk.facade_turns)
    for name in ("open", "accepted", "refused"):
        kind = "gauge" if name == "open" else "counter"
        suffix = "" if name == "open" else "_total"
        value = desk.connections.get(name, 0)
        add(f"http_connections_{name}{suffix}", kind, f"Connections {name}.", value)
    answered = [
        ({"route": route or "none", "method": _method(method), "status": str(status)}, count)
        for (route, method, status), count in sorted(desk.answered.items())
    ]
    add("http_requests_total", "counter", "Requests answered.", answered)
    refused = [({"scope": scope}, count) for scope, count in sorted(desk.refused.items())]
    add("http_refused_total", "counter", "Requests refused by a bound.", refused)
    add("uptime_seconds", "gauge", "Since the start.", trio.current_time() - desk.started_at)
    return ("\n".join(lines) + "\n").encode()


def _labels(labels: Mapping[str, str]) -> str:
    if not labels:
        return ""
    told = ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items())
    return f"{{{told}}}"


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


def _method(method: str) -> str:
    return method if method in _METHODS else "other"
