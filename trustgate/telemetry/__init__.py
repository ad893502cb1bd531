"""Telemetry says what happened, never in the way: a step leaves a value on a record, the rest is done later."""
