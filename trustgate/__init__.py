"""TrustGate: a gateway for LLM and agent traffic."""
