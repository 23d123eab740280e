"""Training stores: the episodes of many bags on the control grid, as chunked and compressed zarr arrays.

`build.py` makes one from bags, `store.py` says what is in it and reads it, `check.py` verifies it against its hashes
and its bags, `info.py` lists it, `export_*.py` write the formats of other projects. Needs neither ROS nor torch.
The bags stay the source of truth: a store knows their hashes and can be made again from them.
"""
