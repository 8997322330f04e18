"""The product: one ONNX file, measured against the network it was made from, and the card that says what it can do."""
