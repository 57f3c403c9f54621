"""What deltas amount to, however many they are."""

from __future__ import annotations

import tracemalloc

from hypothesis import given
from hypothesis import strategies as st

from actrio.messages import (
    Fold,
    RefusalDelta,
    TextDelta,
    ThinkingDelta,
    ToolCallDelta,
    VendorItem,
    VendorItemDelta,
)

TEXTS = st.text(
    st.characters(exclude_categories=()), max_size=20
)  # lone surrogates, line ends, all
DELTAS = st.lists(
    st.one_of(
        st.builds(TextDelta, TEXTS),
        st.builds(ThinkingDelta, TEXTS),
        st.builds(RefusalDelta, TEXTS),
        st.builds(ToolCallDelta, st.integers(0, 2), arguments=TEXTS),
        st.builds(VendorItemDelta, st.builds(VendorItem, st.just("v"), st.just("k"), TEXTS)),
    ),
    max_size=40,
)


@given(DELTAS)
def test_no_character_is_lost_changed_or_miscounted(deltas):
    """Text is what it was, line ends and all, and the size is that of everything."""
    state = Fold()
    state.extend(deltas)
    state.message()  # a look on the way changes nothing
    state.extend(deltas)
    told = "".join(delta.text for delta in deltas if type(delta) is TextDelta) * 2
    assert state.message().text == told
    whole = sum(
        len(delta.item.data)
        if isinstance(delta, VendorItemDelta)
        else len(delta.arguments if isinstance(delta, ToolCallDelta) else delta.text)
        for delta in deltas
    )
    assert state.size == 2 * whole


def test_a_long_answer_costs_its_text_and_not_its_tokens():
    """A hundred thousand tokens of five characters take a megabyte, not eight."""
    state = Fold()
    state.add(TextDelta("begin"))
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for number in range(100_000):
        state.extend((TextDelta(f"{number:05}"),))
    used = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert state.size == 500_005
    assert used < 2_500_000
