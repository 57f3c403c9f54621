"""What the tests of sessions share: ways to look at a session that do not trust its memory."""

from __future__ import annotations

import pytest

from actrio import ItemCompleted, ItemDelta, ItemStarted, TurnCancelled, TurnCompleted, TurnFailed
from actrio.sessions import read_state
from actrio.testing import history_problems
from actrio.wire import event_to_dict

TERMINAL = (TurnCompleted, TurnFailed, TurnCancelled)


@pytest.fixture
def check_journal():
    """Return a check that a session's memory equals what its journal says, and is valid."""

    async def check(runtime, session_id):
        for _ in range(10):  # until nothing was written between the three looks
            view = await runtime.view(session_id)
            kept = (await read_state(runtime.store, session_id)).view()
            if await runtime.view(session_id) == view:
                break
        assert kept == view
        assert history_problems(view.history) == []
        return view

    return check


@pytest.fixture
def users():
    """Return what the user said, as a history has it."""
    return lambda history: [each.text for each in history if each.role == "user"]


@pytest.fixture
def plain():
    """Return recorded events as plain values, to compare what several readers got."""
    return lambda events: [event_to_dict(each) for each in events if each.n is None]


@pytest.fixture
def check_order():
    """Return a check of the order of a session's events: numbers, items, one end for each turn."""

    def check(events):
        seq, n = events[0].seq - (events[0].n is None), 0
        begun, done, ended = set(), set(), set()
        for event in events:
            if event.n is None:
                seq, n = seq + 1, 0
                assert event.seq == seq
            else:
                assert event.seq == seq
                assert event.n > n
                n = event.n
            assert not event.turn or event.turn not in ended, "nothing follows a turn's end"
            match event:
                case ItemStarted(item=item):
                    assert item not in done
                    begun.add(item)
                case ItemDelta(item=item):
                    assert item in begun - done
                case ItemCompleted(item=item):
                    assert item in begun - done
                    done.add(item)
            if isinstance(event, TERMINAL):
                ended.add(event.turn)
        assert begun == done
        return ended

    return check
