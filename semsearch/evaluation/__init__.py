"""How good the answers are: judgements, measures, questions without judges."""
