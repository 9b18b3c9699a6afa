"""SQL engines and the content-addressed blob store.

Tables, queries and what a blob means belong to the services; this library opens, configures and closes.
"""

from headrace_storage.blobs import BlobCorrupt, BlobNotFound, BlobStore, ObjectBlobs, bucket_store
from headrace_storage.inserting import insert_new
from headrace_storage.many import among, insert_all, insert_all_new, upsert_all
from headrace_storage.migrations import UnknownRevision
from headrace_storage.sql import Database

__all__ = [
    "BlobCorrupt",
    "BlobNotFound",
    "BlobStore",
    "Database",
    "ObjectBlobs",
    "UnknownRevision",
    "among",
    "bucket_store",
    "insert_all",
    "insert_all_new",
    "insert_new",
    "upsert_all",
]
