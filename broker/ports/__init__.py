"""The signatures through which robots and runs reach the broker; no implementation, no Redis."""
