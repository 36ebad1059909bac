"""Looking a collection over, repairing and compacting it, backing it up, changing its model."""
