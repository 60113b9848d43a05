"""The HTTP API: what the pages and the command line do, for programs, over the same functions. It holds no rule."""
