"""Erasing a person: leaving them out of what is read, finding where they still are, removing that, and saying so."""
