"""Pictures as they are shown to others: their pixels, and nothing that their files tell besides."""
