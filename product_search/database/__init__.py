"""What every table needs: engines and transactions, column types, the clock."""
