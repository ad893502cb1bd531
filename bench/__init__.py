"""The bench: TrustGate and its peers against one mock upstream, in one run. README.md explains it."""
