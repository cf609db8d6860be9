"""A trained run at work: images in, probabilities out."""
