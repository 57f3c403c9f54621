"""Cut every recorded answer at every byte, and demand the same result each time.

``python tools/splits.py FOLDER [--bytes-max 20000] [--processes 2]``

The tests try every position of small answers and a sample of larger ones; this tries them all. An
answer that ends in an error must end in the same error, wherever it is cut.
"""

from __future__ import annotations

import argparse
import sys
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from actrio.errors import ActrioError
from actrio.messages import EmbedInput, Fold
from actrio.providers.contract import Exchange, load_exchanges
from actrio.providers.contract._apis import asked_of, dialect_of


def read(dialect: Any, call: Any, content_type: str, pieces: list[bytes]) -> Any:
    """Return what the pieces amount to: an output, or the error's type and text."""
    fold = Fold()
    try:
        reader = dialect.reader(call, content_type)
        for piece in pieces:
            for delta in reader.feed(piece):
                fold.add(delta)
            if reader.done:
                break
        for delta in reader.close():
            fold.add(delta)
    except ActrioError as error:
        return type(error).__name__, str(error), fold.message()
    return fold.output(model=reader.model)


def differences(bytes_max: int, exchange: Exchange) -> tuple[int, list[str]]:
    """Return how many cuts were tried, and those that changed the result."""
    asked = asked_of(exchange)
    body = exchange.body
    if exchange.status != 200 or isinstance(asked.call, EmbedInput) or len(body) > bytes_max:
        return 0, []
    if exchange.kind not in {"chat", "chat_stream"}:
        return 0, []
    kind = exchange.headers.get("content-type", "").partition(";")[0].strip()
    kind = kind or ("text/event-stream" if exchange.stream else "application/json")
    once = partial(read, dialect_of(exchange), asked.call, kind)
    whole = once([body])
    changed = [
        f"{exchange.id} cut at byte {at}"
        for at in range(1, len(body))
        if once([body[:at], body[at:]]) != whole
    ]
    return max(len(body) - 1, 0), changed


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--bytes-max", type=int, default=20_000)
    parser.add_argument("--processes", type=int, default=2)
    given = parser.parse_args(arguments)
    exchanges = sorted(load_exchanges(given.folder), key=lambda each: -len(each.body))
    with ProcessPoolExecutor(given.processes) as pool:
        found = list(pool.map(partial(differences, given.bytes_max), exchanges, chunksize=2))
    tried = [count for count, _ in found if count]
    changed = [line for _, lines in found for line in lines]
    print(f"{len(tried)} answers, {sum(tried):,} cuts, {len(changed)} changed the result")
    for line in changed[:20]:
        print("  ", line)
    return 1 if changed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
