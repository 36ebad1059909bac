"""semsearch's models and whole collections on the tasks of mteb: an encoder, a cross-encoder, a search model.

>>> import mteb                                                                          # doctest: +SKIP
>>> from semsearch.mteb import CollectionSearch, MTEBEncoder                             # doctest: +SKIP
>>> mteb.evaluate(MTEBEncoder("all-MiniLM-L6-v2"), mteb.get_tasks(tasks=["SciFact"]))    # doctest: +SKIP
>>> mteb.evaluate(CollectionSearch(mode="hybrid"), mteb.get_tasks(tasks=["SciFact"]))    # doctest: +SKIP

Needs the extra `mteb`.
"""

from semsearch.mteb.collection_search import CollectionSearch
from semsearch.mteb.task_models import MTEBCrossEncoder, MTEBEncoder

TESTED = {"mteb": "2.26.24"}  # with this its tests passed

__all__ = ["TESTED", "CollectionSearch", "MTEBCrossEncoder", "MTEBEncoder"]
