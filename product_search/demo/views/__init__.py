"""The sections of the pages: a module or package a page, and what several pages show."""
