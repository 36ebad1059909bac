"""Looking a collection over, mending and compacting it, backing it up, changing its model."""
