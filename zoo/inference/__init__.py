"""A trained run at work: films in, probabilities out."""
