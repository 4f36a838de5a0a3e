"""The statements about the public package are made with what those about any node are made with."""

from tests.node.conftest import _alive, eventually, outside, reboot, service, settings, units

__all__ = ["_alive", "eventually", "outside", "reboot", "service", "settings", "units"]
