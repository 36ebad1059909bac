"""Cross-encoders: a query and a passage read together, for a score that is better than two vectors' and dearer.

`load.load_reranker` is the way in. It stands on `semsearch.encoder`: names are found, weights checked, batches laid out
and computed there. Nothing here imports torch before a model is opened.
"""
