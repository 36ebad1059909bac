"""From a query to hits: plan, gather candidates, fuse, rerank; and the contract that measures an index's recall."""
