"""All families of attacks, by name."""

from attack import databases, files, folders, processes, queries, servers, vectors

FAMILIES = {
    module.__name__.rpartition(".")[2]: module
    for module in (processes, folders, files, databases, servers, queries, vectors)
}
