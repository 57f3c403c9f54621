"""What happens, numbered, on its way to whoever listens.

Progress of a turn goes to its owner and paces it. Monitor and control feeds, replay from a
bookmark and several subscribers come with the journal.
"""

from actrio.feeds._feed import MERGED_TEXT_MAX as MERGED_TEXT_MAX
from actrio.feeds._feed import Numbering as Numbering
from actrio.feeds._feed import TurnFeed as TurnFeed
from actrio.feeds._feed import merge_deltas as merge_deltas
