"""The bundled application of a PanDA server node.

Nothing is imported here: `python -m panda_node.log_writer` and `panda-node schema check` have to start fast.
"""

__version__ = "0.1.0"
