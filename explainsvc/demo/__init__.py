"""The demo: a small model trained by this project, explained by a real server."""
