"""The engine on a cluster of OpenSearch or Elasticsearch, an index a collection."""
