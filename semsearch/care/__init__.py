"""Care over time: looking a collection over, mending it, compacting it, backing it up, changing its model."""
