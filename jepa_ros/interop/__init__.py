"""Models to and from other software: LeWM checkpoints in, torch.export and ONNX programs out. Imports no ROS."""
