"""What a reader of corpora stands on, the built-in ones as a third party's: files and streams, records and ids."""
