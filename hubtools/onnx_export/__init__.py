"""ONNX files of a model: ``onnx/model.onnx`` and its int8 form, measured against torch before they are released."""
