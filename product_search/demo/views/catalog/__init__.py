"""The catalog page: its list, its form and its dialogs."""
