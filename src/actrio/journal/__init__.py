"""The journal: what was acknowledged is here, whatever happens next.

A session's records have one `seq`; whoever holds its claim appends them; a store keeps them, on a
disk (`open_embedded_store`) or in memory (`MemoryStore`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
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
    from actrio.journal._large import BLOB_AT_BYTES as BLOB_AT_BYTES
    from actrio.journal._large import LargeValues as LargeValues
    from actrio.journal._memory import MemoryStore as MemoryStore
    from actrio.journal._passing import PassingStore as PassingStore
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
    from actrio.journal._repair import LostRecords as LostRecords
    from actrio.journal._repair import RepairedFile as RepairedFile
    from actrio.journal._repair import RepairReport as RepairReport
    from actrio.journal._repair import repair as repair
    from actrio.journal._repair import verify as verify
    from actrio.journal._salvage import DamagedRange as DamagedRange
    from actrio.journal._store import Claim as Claim
    from actrio.journal._store import CompactReport as CompactReport
    from actrio.journal._store import Durability as Durability
    from actrio.journal._store import HousekeepingPort as HousekeepingPort
    from actrio.journal._store import SessionEntry as SessionEntry
    from actrio.journal._store import StorePort as StorePort
    from actrio.journal._store import StoreStatistics as StoreStatistics
    from actrio.journal._store import VerifyProblem as VerifyProblem
    from actrio.journal._store import VerifyReport as VerifyReport
else:
    from actrio._doors import open_door

    __getattr__, __dir__, __all__ = open_door(
        __name__,
        {
            "_blobs": "BlobPort BlobRef BlobStatistics CollectReport MemoryBlobs",
            "_disk": "Disk DiskFile DiskLock RealDisk",
            "_embedded": "EmbeddedStore open_embedded_store",
            "_folder": "clean_namespace store_folder",
            "_large": "BLOB_AT_BYTES LargeValues",
            "_memory": "MemoryStore",
            "_passing": "PassingStore",
            "_records": "ApprovalAsked ApprovalDecided Checkpoint HistoryCompacted HistoryTrimmed "
            "InputAccepted ModelOutcome Record SessionCreated SessionForked SessionRewound "
            "StateChanged StepBegun StoredRecord ToolFinished ToolSealed ToolStarted "
            "TurnBegun TurnEnded record_codec",
            "_redact": "RecordFilter redact_record",
            "_repair": "LostRecords RepairedFile RepairReport repair verify",
            "_salvage": "DamagedRange",
            "_store": "Claim CompactReport Durability HousekeepingPort SessionEntry StorePort "
            "StoreStatistics VerifyProblem VerifyReport",
        },
    )
