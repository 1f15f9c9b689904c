"""The process that brings the local log into the tables: `python -m nautilus_ext.persistence.shipper`."""
