"""What people do with stored vectors besides asking: pairs, duplicates, clusters, labels, translations."""
