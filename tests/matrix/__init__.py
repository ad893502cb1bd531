"""Official SDKs through the gateway, each in front of each provider's format, over real sockets."""
