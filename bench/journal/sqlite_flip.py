"""What SQLite makes of one flipped bit, and how fast it commits. Needs apsw, which actrio does not.

``python bench/journal/sqlite_flip.py``, in an environment of its own that has apsw. Each setting
writes 200 rows, one commit each, and leaves the files as a killed process would. Then each of many
bits is flipped in a copy of the files, and the copy is opened, checked and read. ``silent`` counts
the flips after which fewer or other rows were shown with no error and ``integrity_check`` said ok.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

import apsw

ROWS = 200
SETTINGS = {
    "wal": ["PRAGMA journal_mode=WAL"],
    "wal, never checkpointed": [
        "PRAGMA journal_mode=WAL",
        "PRAGMA wal_autocheckpoint=0",
    ],
    "rollback journal": ["PRAGMA journal_mode=DELETE"],
}


def write(folder: Path, pragmas: list[str]) -> None:
    """Write the rows in a process that is killed, so that nothing is tidied up."""
    child = os.fork()
    if child == 0:
        db = apsw.Connection(str(folder / "db"))
        for pragma in [*pragmas, "PRAGMA synchronous=FULL"]:
            db.execute(pragma)
        db.execute("CREATE TABLE r (n INTEGER PRIMARY KEY, body TEXT)")
        for number in range(ROWS):
            db.execute("INSERT INTO r VALUES (?, ?)", (number, f"record {number} " + "x" * 200))
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)


def look(folder: Path) -> tuple[str, int]:
    """Return what opening shows: ``whole``, ``error`` or ``silent``, and how many rows."""
    try:
        db = apsw.Connection(str(folder / "db"))
        rows = list(db.execute("SELECT n, CAST(body AS BLOB) FROM r ORDER BY n"))
        check = list(db.execute("PRAGMA integrity_check"))
        db.close()
    except apsw.Error:
        return "error", -1
    right = rows == [(n, f"record {n} ".encode() + b"x" * 200) for n in range(ROWS)]
    if check != [("ok",)]:
        return "error", len(rows)
    return ("whole" if right else "silent"), len(rows)


def flips(pragmas: list[str], count: int) -> dict[str, object]:
    chance = random.Random(1)
    with tempfile.TemporaryDirectory() as root:
        source = Path(root) / "source"
        source.mkdir()
        write(source, pragmas)
        files = [p for p in sorted(source.iterdir()) if p.stat().st_size and p.suffix != ".db-shm"]
        files = [p for p in files if not p.name.endswith("-shm")]
        seen: dict[str, int] = {"whole": 0, "error": 0, "silent": 0}
        fewest = ROWS
        sizes = [p.stat().st_size for p in files]
        for _ in range(count):
            copy = Path(root) / "copy"
            copy.mkdir()
            for path in files:
                shutil.copy(path, copy)
            (victim,) = chance.choices(files, weights=sizes)
            data = bytearray((copy / victim.name).read_bytes())
            bit = chance.randrange(len(data) * 8)
            data[bit // 8] ^= 1 << bit % 8
            (copy / victim.name).write_bytes(data)
            state, rows = look(copy)
            seen[state] += 1
            if state == "silent":
                fewest = min(fewest, rows)
            shutil.rmtree(copy)
    return {**seen, "fewest rows shown silently": fewest}


def speed(sync: str) -> dict[str, float]:
    """One writer, 100 rows in each commit: as a group commit of 100 sessions would."""
    with tempfile.TemporaryDirectory() as root:
        db = apsw.Connection(str(Path(root) / "db"))
        db.execute("PRAGMA journal_mode=WAL")
        db.execute(f"PRAGMA synchronous={sync}")
        db.execute("CREATE TABLE r (session TEXT, n INTEGER, body TEXT, PRIMARY KEY (session, n))")
        began = time.perf_counter()
        for number in range(300):
            with db:
                db.executemany(
                    "INSERT INTO r VALUES (?, ?, ?)",
                    [(f"s{one}", number, "x" * 200) for one in range(100)],
                )
        return {"rows/s": round(300 * 100 / (time.perf_counter() - began))}


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 500
    print(f"SQLite {apsw.sqlite_lib_version()}, {count} flips each")
    for name, pragmas in SETTINGS.items():
        print(f"{name}: {json.dumps(flips(pragmas, count))}")
    for sync in ("NORMAL", "FULL"):
        print(f"WAL, synchronous={sync}, 100 rows in a commit: {json.dumps(speed(sync))}")


if __name__ == "__main__":
    main()
