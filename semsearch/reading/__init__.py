"""What a reader of corpora stands on, built-in or a third party's: files and streams, and documents from records."""
