"""What is measured: rankings, confidence, image-title pairs."""
