"""How good the starter is: docs/starter-model.md, by `python -m product_search.training.report`."""
