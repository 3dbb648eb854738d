"""How models/starter is made: `python -m product_search.training.starter`."""
