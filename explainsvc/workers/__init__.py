"""The server's side of its worker processes: each of them, the line before them, and what is counted."""
