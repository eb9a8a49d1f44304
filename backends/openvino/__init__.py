"""OpenVINO on CPU: a target of its own, and the stand-in that runs TensorRT-placed graphs."""
