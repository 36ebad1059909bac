"""What the adaptors to frameworks share: opening, Python's equality as filters, work kept off an event loop.

An adaptor is a package of its own (`semsearch.langchain`, `semsearch.llamaindex`, `semsearch.haystack`,
`semsearch.mteb`, `semsearch.dspy`), stands on the public API alone, and imports its framework when it is imported.
"""
