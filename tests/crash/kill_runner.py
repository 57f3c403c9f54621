"""Kill a process that writes a journal, again and again, and count what is lost.

``python tests/crash/kill_runner.py FOLDER KILLS`` prints one line of JSON and fails if something was lost. Each life is forked from
this process, which has no threads: it writes sessions and says over a pipe what was acknowledged.
It is killed either by its parent at a random moment, or by itself at the n-th operation of its
disk (before it, halfway through it, after it), for n = 1, 2, 3 … Beside the sessions it writes, it
removes one again and again, trims one, and compacts, so that the kill strikes these as well.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import random
import select
import signal
import sys
import time
from pathlib import Path

import trio

from actrio.journal import Checkpoint, RealDisk, StateChanged, open_embedded_store

SESSIONS = 8
LIVES_PER_FOLDER = 20
SEGMENT_BYTES = 20_000
INDEX_BYTES = 10_000


class _FatalFile:
    def __init__(self, file, die):
        self._file = file
        self._die = die

    def __getattr__(self, name):
        return getattr(self._file, name)

    def write_at(self, offset, data):
        self._die("before")
        if self._die("halfway", only_look=True):
            self._file.write_at(offset, data[: len(data) // 2])
            self._die("halfway")
        self._file.write_at(offset, data)
        self._die("after")

    def sync(self):
        self._die("before")
        self._file.sync()
        self._die("after")


class FatalDisk(RealDisk):
    """A disk whose ``step``-th write or sync is its process's last."""

    def __init__(self, root, step, moment):
        super().__init__(root)
        self._left = step
        self._moment = moment

    def _die(self, moment, *, only_look=False):
        if moment == "before":
            self._left -= 1
        due = self._left == 0 and moment == self._moment
        if due and not only_look:
            os.kill(os.getpid(), signal.SIGKILL)
        return due

    def open(self, name, *, create=False):
        return _FatalFile(super().open(name, create=create), self._die)

    def write_new(self, name, content):
        self._die("before")
        if self._die("halfway", only_look=True):
            super().write_new(name, content[: len(content) // 2])
            self._die("halfway")
        super().write_new(name, content)
        self._die("after")

    def put_in_place(self, new, name):
        self._die("before")
        super().put_in_place(new, name)
        self._die("after")

    def remove(self, name):
        self._die("before")
        super().remove(name)
        self._die("after")


async def _live(folder, disk, pipe, durability, seed):
    async with (
        open_embedded_store(
            folder,
            disk=disk,
            durability=durability,
            segment_bytes_max=SEGMENT_BYTES,
            index_bytes_max=INDEX_BYTES,
        ) as store,
        trio.open_nursery() as nursery,
    ):

        async def write(name):
            claim = await store.claim(name, "life")
            last = claim.last_seq
            chance = random.Random(f"{seed} {name}")
            while True:
                count = chance.randrange(1, 4)
                records = [StateChanged(values={"n": last + 1 + i}, by=name) for i in range(count)]
                last = await store.append(name, claim.epoch, last, records, sync=last % 10 == 0)
                os.write(pipe, f"{name} {last}\n".encode())

        async def come_and_go(generation):
            while True:
                claim = await store.claim("gone", "life")
                last, generation = claim.last_seq, generation + 1
                for _ in range(5):
                    records = [StateChanged(values={"generation": generation}, by="x" * 200)]
                    last = await store.append("gone", claim.epoch, last, records)
                await store.remove(claim)
                os.write(pipe, f"gone {generation}\n".encode())

        async def trim_and_compact():
            claim = await store.claim("trimmed", "life")
            last = claim.last_seq
            while True:
                records = [StateChanged(values={"n": last + 1}), Checkpoint(snapshot={})]
                last = await store.append("trimmed", claim.epoch, last, records)
                await store.trim(claim, last)
                os.write(pipe, f"trimmed {last}\n".encode())
                await store.compact(bytes_max=SEGMENT_BYTES)

        for number in range(SESSIONS):
            nursery.start_soon(write, f"s{number}")
        nursery.start_soon(come_and_go, seed * 1_000_000)
        nursery.start_soon(trim_and_compact)


async def _check(folder, acknowledged):
    lost, extra = 0, 0
    async with open_embedded_store(folder, segment_bytes_max=SEGMENT_BYTES) as store:
        report = await store.verify()
        if report.problems or report.warnings:
            print(report, file=sys.stderr)
            return {"lost": -1}
        listed = {entry.session: entry.last_seq for entry in await store.list()}
        # A removal that was acknowledged stays one; a trim does not, it only gives permission.
        for one in await store.read("gone", 1) if "gone" in listed else ():
            lost += one.record.values["generation"] <= acknowledged.get("gone", 0)
        if acknowledged.get("trimmed", 0) > listed.get("trimmed", 0):
            lost += 1
        elif "trimmed" in listed:
            await store.read("trimmed")
        for name, last in acknowledged.items():
            if not name.startswith("s"):
                continue
            found = await store.read(name, 1) if name in listed else ()
            right = [one.record.values["n"] for one in found] == list(range(1, len(found) + 1))
            right = right and all(one.record.by == name for one in found)
            lost += max(0, last - len(found)) if right else last
            extra += max(0, len(found) - last)
    return {"lost": lost, "extra": extra}


def _answer(folder, acknowledged, pipe):
    os.write(pipe, json.dumps(trio.run(_check, folder, acknowledged)).encode())


def _forked(work):
    """Run ``work`` in a child; return its id and the end of a pipe it writes to."""
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read_end)
        with contextlib.suppress(BaseException):
            work(write_end)
        os._exit(0)
    os.close(write_end)
    return child, read_end


def _read_all(pipe, seconds):
    """Return what arrives within ``seconds``, and whether the writer ended."""
    data, deadline = b"", time.monotonic() + seconds
    while True:
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([pipe], [], [], left)[0]:
            return data, False
        piece = os.read(pipe, 1 << 16)
        if not piece:
            return data, True
        data += piece


def main(root: Path, kills: int) -> dict[str, int]:
    chance = random.Random(kills)
    totals = {"kills": 0, "acknowledged": 0, "lost": 0, "unacknowledged": 0}
    acknowledged: dict[str, int] = {}
    for life in range(kills):
        folder = root / f"{life // LIVES_PER_FOLDER:04}"
        if life % LIVES_PER_FOLDER == 0:
            acknowledged = {}
        durability = ("batch", "always")[life // LIVES_PER_FOLDER % 2]
        at_boundary = life % 2
        step = 1 + life // 2 % 40 if at_boundary else 10**9
        disk = FatalDisk(folder, step, ("before", "halfway", "after")[life // 2 % 3])

        def work(pipe, folder=folder, disk=disk, durability=durability, life=life):
            trio.run(_live, folder, disk, pipe, durability, life)

        child, pipe = _forked(work)
        data, ended = _read_all(pipe, 0.15 if at_boundary else chance.uniform(0.001, 0.06))
        if not ended:
            os.kill(child, signal.SIGKILL)
            data += _read_all(pipe, 5)[0]
        os.close(pipe)
        status = os.waitpid(child, 0)[1]
        totals["kills"] += os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
        # A line that the kill cut in two was not received by anybody.
        for line in data.decode().split("\n")[:-1]:
            name, last = line.split()
            acknowledged[name] = max(int(last), acknowledged.get(name, 0))
            totals["acknowledged"] += 1

        child, pipe = _forked(functools.partial(_answer, folder, acknowledged))
        answer, _ = _read_all(pipe, 60)
        os.close(pipe)
        os.waitpid(child, 0)
        told = json.loads(answer or '{"lost": -1}')
        if told["lost"]:
            print(f"life {life} in {folder}: {told}", file=sys.stderr)
            totals["lost"] += abs(told["lost"])
        totals["unacknowledged"] += told.get("extra", 0)
        if life % LIVES_PER_FOLDER == LIVES_PER_FOLDER - 1 and not totals["lost"]:
            for path in sorted(folder.rglob("*"), reverse=True):
                path.rmdir() if path.is_dir() else path.unlink()
    return totals


if __name__ == "__main__":
    told = main(Path(sys.argv[1]), int(sys.argv[2]))
    print(json.dumps(told))
    sys.exit(1 if told["lost"] else 0)
