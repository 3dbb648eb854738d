"""What the tables are made of: transactions, column types."""
