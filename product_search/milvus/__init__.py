"""What the vector store is made of: schema, filters, options, the embedded file."""
