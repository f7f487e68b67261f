"""What builds and checks the book; each module's docstring says how to run it."""
