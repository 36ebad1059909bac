"""From a source to the store: what is new or changed is read, split, encoded and committed."""

MAX_VANISHED = 0.2  # of the documents of a source may go at once without a question: more looks like a mistake
