"""`python -m landingzone`: the same as the command `landingzone`."""

from landingzone.cli import main

main()
