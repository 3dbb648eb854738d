"""Words: analysis, synonyms, the query's text, spelling."""
