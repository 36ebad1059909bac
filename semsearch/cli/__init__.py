"""The command line: the only place, with the interactive query, that prints, prompts or exits."""
