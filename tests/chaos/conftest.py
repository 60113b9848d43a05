"""Only the test is collected: the rest is a program of its own, whose modules find each other."""

collect_ignore_glob = ["[!t]*.py", "trouble.py"]
