"""The pieces of the operators' pages."""
