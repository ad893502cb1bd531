"""The command, for those who run a checkout without installing it."""

from trustgate.cli import main

main()
