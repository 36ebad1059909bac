"""`python -m semsearch`: the command line, where its script isn't on the path."""

from semsearch.cli.main import main

if __name__ == "__main__":
    main()
