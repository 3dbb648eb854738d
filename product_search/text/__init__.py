"""Text: normalisation, terms, synonyms, text queries and their spelling."""
