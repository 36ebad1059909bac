"""What tests share: models, corpora, encoders, workloads; no test imports another."""
