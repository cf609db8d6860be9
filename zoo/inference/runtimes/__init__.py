"""What computes a network: Keras, LiteRT or ONNX Runtime, and how it is converted once for each."""
