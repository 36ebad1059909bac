"""What `langchain_core.indexing.index()` remembers of a run, kept with the documents themselves.

Elsewhere the record lies in a database of its own, and can say of a document that it is there when it is not. Here a
key is recorded as long as its document is in the collection: a crash between the two leaves nothing to be put right.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Sequence
from typing import Final

from langchain_core.indexing import RecordManager

from semsearch.adaptors.matching import any_of, sized
from semsearch.adaptors.offloading import offloaded, offloaded_change
from semsearch.collection import Collection
from semsearch.errors import UsageError
from semsearch.langchain.text_documents import OWN_FIELDS
from semsearch.langchain.vector_store import SemsearchVectorStore
from semsearch.search.where import And, Exists, Filter

UPDATED_AT: Final = f"{OWN_FIELDS}updated_at"  # seconds since 1970
GROUP_ID: Final = f"{OWN_FIELDS}group_id"


class SemsearchRecordManager(RecordManager):
    """The record of a store: `index(documents, SemsearchRecordManager(store), store)`."""

    def __init__(self, store: SemsearchVectorStore | Collection) -> None:
        """Keep the record of what `store` holds."""
        self._collection = store.collection if isinstance(store, SemsearchVectorStore) else store
        super().__init__(self._collection.name)

    def create_schema(self) -> None:
        """Nothing is to be made."""

    def get_time(self) -> float:
        """The time by which runs are told apart, in seconds."""
        return time.time()

    def update(
        self,
        keys: Sequence[str],
        *,
        group_ids: Sequence[str | None] | None = None,
        time_at_least: float | None = None,
    ) -> None:
        """Note that documents were seen now, and which source they came from.

        Raises:
            UsageError: There are not as many groups as keys, or the clock is behind `time_at_least`.
        """
        if group_ids is not None and len(group_ids) != len(keys):
            raise UsageError(f"there are {len(keys):,} keys, and {len(group_ids):,} groups for them.")
        now = self.get_time()
        if time_at_least is not None and time_at_least > now:
            raise UsageError(f"the clock says {now}, which is before {time_at_least}, the time at least.")
        of_group: dict[str | None, list[str]] = defaultdict(list)
        for key, group in zip(keys, group_ids or [None] * len(keys), strict=True):
            of_group[group].append(key)
        for group, some in of_group.items():
            self._collection.update_metadata(some, {UPDATED_AT: now, GROUP_ID: group})

    def exists(self, keys: Sequence[str]) -> list[bool]:
        """Whether each document is there."""
        return [document is not None for document in self._collection.get(keys)]

    def list_keys(
        self,
        *,
        before: float | None = None,
        after: float | None = None,
        group_ids: Sequence[str] | None = None,
        limit: int | None = None,
    ) -> list[str]:
        """The keys that were seen before or after a time, or came from some sources."""
        parts: list[Filter] = [Exists(UPDATED_AT)]
        if before is not None:
            parts.append(sized(UPDATED_AT, "<", before))
        if after is not None:
            parts.append(sized(UPDATED_AT, ">", after))
        if group_ids is not None:
            parts.append(any_of(GROUP_ID, group_ids))
        return list(self._collection.ids(And(tuple(parts))))[:limit]

    def delete_keys(self, keys: Sequence[str]) -> None:
        """Take documents out, which `index()` has done by then."""
        self._collection.remove(keys)

    async def acreate_schema(self) -> None:
        """See `create_schema`."""

    async def aget_time(self) -> float:
        """See `get_time`."""
        return self.get_time()

    async def aupdate(
        self,
        keys: Sequence[str],
        *,
        group_ids: Sequence[str | None] | None = None,
        time_at_least: float | None = None,
    ) -> None:
        """See `update`."""
        await offloaded_change(self.update, keys, group_ids=group_ids, time_at_least=time_at_least)

    async def aexists(self, keys: Sequence[str]) -> list[bool]:
        """See `exists`."""
        return await offloaded(self.exists, keys)

    async def alist_keys(
        self,
        *,
        before: float | None = None,
        after: float | None = None,
        group_ids: Sequence[str] | None = None,
        limit: int | None = None,
    ) -> list[str]:
        """See `list_keys`."""
        return await offloaded(self.list_keys, before=before, after=after, group_ids=group_ids, limit=limit)

    async def adelete_keys(self, keys: Sequence[str]) -> None:
        """See `delete_keys`."""
        await offloaded_change(self.delete_keys, keys)
