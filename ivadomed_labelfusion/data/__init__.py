"""The raters' masks on disk: one way to find, open, read, compare and write them, for every entrance."""
