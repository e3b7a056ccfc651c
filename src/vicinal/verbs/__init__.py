"""The jobs of the command line, each from files to files: data in, a table or a picture out."""
