"""From a model's name to vectors: where the checkpoint lies, how it is laid out, its modules, its prompts, its speed.

`load.load_encoder` is the way in. Nothing here imports torch or transformers before a model is opened, and
transformers only where no forward pass of our own serves.
"""

DEFAULT_MODEL = "sentence-transformers/all-MiniLM-L6-v2"
