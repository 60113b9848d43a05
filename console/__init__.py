"""The console: web pages and an HTTP API over the functions that the command line calls. It holds no rule
of its own.
"""
