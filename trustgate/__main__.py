"""`python -m trustgate` is the command `trustgate`."""

from trustgate.cli import main

main()
