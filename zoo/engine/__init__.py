"""The engine: one training loop for every model, loss, augmenter and backend."""
