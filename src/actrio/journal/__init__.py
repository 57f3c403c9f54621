"""The journal: what was acknowledged is here, whatever happens next.

A session's records have one `seq`; whoever holds its claim appends them; a store keeps them, on a
disk (`open_embedded_store`) or in memory (`MemoryStore`).
"""

from actrio.journal._blobs import BlobPort as BlobPort
from actrio.journal._blobs import BlobRef as BlobRef
from actrio.journal._blobs import BlobStatistics as BlobStatistics
from actrio.journal._blobs import CollectReport as CollectReport
from actrio.journal._blobs import MemoryBlobs as MemoryBlobs
from actrio.journal._disk import Disk as Disk
from actrio.journal._disk import DiskFile as DiskFile
from actrio.journal._disk import DiskLock as DiskLock
from actrio.journal._disk import RealDisk as RealDisk
from actrio.journal._embedded import EmbeddedStore as EmbeddedStore
from actrio.journal._embedded import open_embedded_store as open_embedded_store
from actrio.journal._folder import clean_namespace as clean_namespace
from actrio.journal._folder import store_folder as store_folder
from actrio.journal._memory import MemoryStore as MemoryStore
from actrio.journal._records import ApprovalAsked as ApprovalAsked
from actrio.journal._records import ApprovalDecided as ApprovalDecided
from actrio.journal._records import Checkpoint as Checkpoint
from actrio.journal._records import HistoryCompacted as HistoryCompacted
from actrio.journal._records import HistoryTrimmed as HistoryTrimmed
from actrio.journal._records import InputAccepted as InputAccepted
from actrio.journal._records import ModelOutcome as ModelOutcome
from actrio.journal._records import Record as Record
from actrio.journal._records import SessionCreated as SessionCreated
from actrio.journal._records import SessionForked as SessionForked
from actrio.journal._records import SessionRewound as SessionRewound
from actrio.journal._records import StateChanged as StateChanged
from actrio.journal._records import StepBegun as StepBegun
from actrio.journal._records import StoredRecord as StoredRecord
from actrio.journal._records import ToolFinished as ToolFinished
from actrio.journal._records import ToolSealed as ToolSealed
from actrio.journal._records import ToolStarted as ToolStarted
from actrio.journal._records import TurnBegun as TurnBegun
from actrio.journal._records import TurnEnded as TurnEnded
from actrio.journal._records import record_codec as record_codec
from actrio.journal._redact import RecordFilter as RecordFilter
from actrio.journal._redact import redact_record as redact_record
from actrio.journal._store import Claim as Claim
from actrio.journal._store import CompactReport as CompactReport
from actrio.journal._store import Durability as Durability
from actrio.journal._store import HousekeepingPort as HousekeepingPort
from actrio.journal._store import SessionEntry as SessionEntry
from actrio.journal._store import StorePort as StorePort
from actrio.journal._store import StoreStatistics as StoreStatistics
from actrio.journal._store import VerifyProblem as VerifyProblem
from actrio.journal._store import VerifyReport as VerifyReport
