"""Tables: plain data in; CSV, Markdown and LaTeX out."""
