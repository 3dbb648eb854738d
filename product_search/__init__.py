"""What the rooms do together: use cases, settings and the command line of the product search."""

import os

# ONNX Runtime reports what it does to its publisher, unless this is set before it is imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
