"""Who owns which session: a fold over the claims that were written, and the decision on a new one.

Epochs count claims, not sessions: each is one higher than the highest before it, so an epoch is
never used twice, whatever is released, removed or forgotten in between.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final, NamedTuple

from actrio.errors import SessionFenced, SessionOwned
from actrio.journal._frames import Frame, encode_frame
from actrio.wire import json_line

__all__ = ["ClaimTable", "Holder", "fenced"]

HEAD_FORMAT: Final = 1


class Holder(NamedTuple):
    """Who holds a session."""

    epoch: int
    owner: str
    slot: int


class ClaimTable:
    """All claims that are neither released nor taken over."""

    __slots__ = ("held", "removed", "serial")

    def __init__(self, serial: int = 0) -> None:
        self.held: dict[str, Holder] = {}
        # Claims under which the session was removed and that are not given back yet. What came
        # after the removal under the same epoch could not be told from what came before it.
        self.removed: dict[str, int] = {}
        self.serial = serial

    def saw(self, told: dict[str, Any]) -> None:
        """Take in one entry of the claims file.

        Raises:
            KeyError: It is no such entry.
        """
        if "serial" in told:
            self.serial = max(self.serial, told["serial"])
            return
        session, epoch = told["session"], told["epoch"]
        self.serial = max(self.serial, epoch)
        holder = self.held.get(session)
        if holder is not None and holder.epoch > epoch:
            return
        self.removed.pop(session, None)
        if told.get("released"):
            self.held.pop(session, None)
        else:
            self.held[session] = Holder(epoch, told["owner"], told["slot"])

    def decide(
        self,
        session: str,
        owner: str,
        slot: int,
        *,
        insist: bool,
        lives: Callable[[int], bool],
    ) -> Holder | None:
        """Return the new holder to be written down, or ``None`` if ``owner`` holds it already.

        Args:
            session: What is claimed.
            owner: By whom.
            slot: Of the claiming process.
            insist: Whether a living owner is no obstacle.
            lives: Whether the process of a slot lives.

        Raises:
            SessionOwned: Its owner lives.
        """
        holder = self.held.get(session)
        if holder is not None and not insist:
            if holder.owner == owner and holder.slot == slot:
                return None
            if lives(holder.slot):
                raise SessionOwned(
                    f"The session {session} is written by {holder.owner}.",
                    owner=holder.owner,
                    remedy="Wait until it is released, read it, or insist to take it over.",
                )
        return Holder(self.serial + 1, owner, slot)

    def check(self, session: str, epoch: int, slot: int) -> SessionFenced | None:
        """Return why ``epoch`` may not write ``session``, or ``None`` if it may."""
        holder = self.held.get(session)
        if (
            holder is not None
            and holder.epoch == epoch
            and holder.slot == slot
            and not (self.removed and self.removed.get(session) == epoch)
        ):
            return None
        return fenced(session, epoch, holder)

    def as_file(self) -> bytes:
        """Return a claims file that says what this table says."""
        entries = [{"format": HEAD_FORMAT, "serial": self.serial}]
        entries += [entry_of(session, holder) for session, holder in self.held.items()]
        return frames_of(entries, offset=0)


def fenced(session: str, epoch: int, holder: Holder | None) -> SessionFenced:
    """Return the error for a claim that is over."""
    now = f"it is claimed by {holder.owner} now" if holder is not None else "it was given back"
    return SessionFenced(
        f"The claim {epoch} on session {session} is over: {now}.",
        remedy="Stop writing; claim the session anew and read what was written since.",
    )


def entry_of(session: str, holder: Holder, *, released: bool = False) -> dict[str, Any]:
    """Return how a claim, or its end, is written down."""
    told: dict[str, Any] = {"session": session, **holder._asdict()}
    return {**told, "released": True} if released else told


def frames_of(entries: Iterable[dict[str, Any]], *, offset: int) -> bytes:
    """Return entries as the frames that are to be written at ``offset``."""
    written = bytearray()
    for entry in entries:
        kind: Any = "head" if "serial" in entry else "claim"
        written += encode_frame(kind, json_line(entry), offset=offset + len(written), synced=0)
    return bytes(written)


def is_head(frame: Frame) -> bool:
    """Whether a claims file may begin with this frame."""
    return frame.kind == "head" and frame.offset == 0
