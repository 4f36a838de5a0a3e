"""Periodic work, as the [daemon] section of panda_server.cfg describes it."""
