"""Where images lie as they came, each under the hash of its bytes: a folder, or a bucket."""
