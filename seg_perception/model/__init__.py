"""The model file: one ONNX graph that carries its own meaning."""
