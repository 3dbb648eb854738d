"""What stands before the routes: whose requests are refused, and what each answer says to browsers.

Keys and scopes are `product_search.access`; why these doors, and why so:
docs/decisions/0037-doors.md.
"""
