"""Events on their way to those who listen: a turn's owner, subscribers; bookmarks, slow readers."""

from actrio.feeds._feed import MERGED_TEXT_MAX as MERGED_TEXT_MAX
from actrio.feeds._feed import STALL_SECONDS as STALL_SECONDS
from actrio.feeds._feed import FeedStatistics as FeedStatistics
from actrio.feeds._feed import Outlet as Outlet
from actrio.feeds._feed import Replay as Replay
from actrio.feeds._feed import Replayed as Replayed
from actrio.feeds._feed import SessionFeed as SessionFeed
from actrio.feeds._feed import Subscription as Subscription
from actrio.feeds._feed import TurnFeed as TurnFeed
from actrio.feeds._feed import merge_deltas as merge_deltas
