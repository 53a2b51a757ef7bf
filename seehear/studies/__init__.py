"""Studies: many small experiments on one library, each ending in a table and a figure. What they share is `grid.py`."""
