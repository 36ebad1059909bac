"""Attacks on semsearch from outside: through its command line and its public names alone. `make attack`.

Nothing here knows how semsearch does a thing, so that no assumption of the code is shared by what attacks it. A family
of attacks is a module with a name (`FAMILY`), its share of the cases (`SHARE`) and `attack(case)`; each case is made
from its number, and judged by `judge`.
"""
