"""Training a reranker on judgements: hard negatives, the training itself, the model's card."""
