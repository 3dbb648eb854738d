"""The commands of `manage`, a module each: NAME, add_arguments and run."""
