"""From a source to the store: what is new or changed is read, split, encoded and committed."""
