"""The translations: one module a direction, from the hub outwards or inwards to it. See hub.py for their contract."""
